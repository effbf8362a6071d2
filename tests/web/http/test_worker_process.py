"""Processes that are forked."""

import subprocess
import sys

import pytest

from app.settings import REPOSITORY
from tests.server.process import PATIENCE_S

# In a process of its own: the tests' process has threads and handlers that a fork would copy.
PROBE = """
import os, signal, sys, time
from app.web.http.worker_process import ForkedProcess

seen = []
signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))

def forked(target):
    process = ForkedProcess(target)
    process.start()
    return process

# SIGTERM just after the fork ends the process; the handler of its parent must not take it.
for _ in range(20):
    sleeping = forked(lambda: time.sleep(60))
    os.kill(sleeping.pid, signal.SIGTERM)
    sleeping.join()
    assert sleeping.exitcode == -signal.SIGTERM, sleeping.exitcode
assert not seen
os.kill(os.getpid(), signal.SIGTERM)
assert seen == [signal.SIGTERM]

done, failed, left = forked(lambda: None), forked(lambda: 1 / 0), forked(lambda: sys.exit(3))
for process in (done, failed, left):
    process.join()
assert [process.exitcode for process in (done, failed, left)] == [0, 1, 3]

running = forked(lambda: time.sleep(60))
assert running.is_alive() and running.exitcode is None
running.kill()
running.join()
assert not running.is_alive() and running.exitcode == -signal.SIGKILL
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_forked_process_has_signals_and_an_exit_code_of_its_own() -> None:
    """It takes signals from its first moment on, and its exit code says how it ended."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
