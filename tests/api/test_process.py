"""What the Python API imports and starts, in scripts, and what it leaves behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.samples import sample_pixels
from app.settings import REPOSITORY
from tests.imaging.samples import canvas, encode
from tests.server.process import PATIENCE_S, eventually

IMPORT = """
import sys
before = set(sys.modules)
import digitscope
assert not {name.partition(".")[0] for name in set(sys.modules) - before} & {
    "app", "numpy", "PIL", "pydantic", "training"
}
assert "load" in dir(digitscope)
"""

USE = """
import sys
from PIL import Image
limit = Image.MAX_IMAGE_PIXELS
import digitscope
from app.samples import sample_png
model = digitscope.load()
assert model.predict(sample_png(4)).digit == 4
for result in (
    model, model.layers, model.predict(sys.argv[1]), model.read(sys.argv[1]),
    model.preprocess(sys.argv[1]), model.activations(sample_png(4), "relu_1"),
    model.unit(sample_png(4), "relu_1"), model.explain(sample_png(4), method="gradient"),
):
    assert result._repr_html_()
unwanted = {
    "tensorflow", "keras", "fastapi", "starlette", "uvicorn", "typer", "rich", "matplotlib",
    "training", "ray", "scipy", "grpc", "prometheus_client",
}
loaded = unwanted & set(sys.modules)
assert not loaded, loaded
from digitscope import *
assert Image.MAX_IMAGE_PIXELS == limit
assert Page is digitscope.Page and digitscope.Image and "Image" in dir(digitscope)
"""

# A script without `if __name__ == "__main__"`, whose forked children read files, too.
CHILDREN = """
import multiprocessing
import os
import sys
import warnings
import digitscope
from tests.server.process import children_of
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork beside threads
model = digitscope.load()
assert model.predict(sys.argv[1]).digit == 7
decoders = children_of(os.getpid())
assert decoders
def read(path):
    return model.predict(path)  # the model of the parent, which the child inherits
with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map(read, [sys.argv[1]] * 8)
    found += pool.map(model.predict, [sys.argv[1]] * 8)  # a model that is sent
assert [each.digit for each in found] == [7] * 16
assert model.predict(sys.argv[1]).digit == 7
assert children_of(os.getpid()) == decoders
print(*decoders)
"""

# Forks while another thread uses the only interpreter.
HELD = """
import os
import signal
import warnings
from app.bundle import open_bundle
from app.inference.litert_runtime import open_runtime
from app.samples import sample_pixels
from app.settings import REPOSITORY
runtime = open_runtime(open_bundle(REPOSITORY / "model" / "compact"))
held = runtime._pool.acquire()
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(int(runtime.predict(sample_pixels(4)[None]).probabilities.argmax()))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
"""

KILLED = """
import os
import signal
import sys
import digitscope
from tests.server.process import children_of
assert digitscope.load().predict(sys.argv[1]).digit == 7
print(*children_of(os.getpid()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

INTERRUPTED = """
import sys
import digitscope
model = digitscope.load()
assert model.predict(sys.argv[1]).digit == 7
try:
    print("ready", flush=True)
    while True:  # the decoder waits for the next file
        pass
except KeyboardInterrupt:
    print(model.predict(sys.argv[1]).digit)
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A 7 on a file that is decoded in a process of its own."""
    path = tmp_path / "7.png"
    path.write_bytes(encode(canvas(sample_pixels(7))))
    return path


def run(code: str, *arguments: object, returncode: int = 0) -> str:
    """Run code as a script in which a warning is an error; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (returncode, "")
    return done.stdout


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_import_loads_nothing() -> None:
    """`import digitscope` imports no other module of the project and no library."""
    run(IMPORT)


def test_api_needs_neither_tensorflow_nor_the_web(large: Path) -> None:
    """Loading, every method and every picture import no TensorFlow, web framework or Typer."""
    run(USE, large)


def test_forked_children_read_files_and_nothing_is_left(large: Path) -> None:
    """Children of a script start their own decoders; at the end, no process is left."""
    decoders = run(CHILDREN, large).split()
    assert decoders
    eventually(lambda: all(has_ended(int(pid)) for pid in decoders))


def test_forked_child_does_not_wait_for_interpreters_of_its_parent() -> None:
    """An interpreter that a thread of the parent uses at the fork never returns in the child."""
    run(HELD)


def test_decoders_end_with_a_killed_script(large: Path) -> None:
    """The decoders of a script that is killed end by themselves."""
    decoders = run(KILLED, large, returncode=-9).split()
    assert decoders
    eventually(lambda: all(has_ended(int(pid)) for pid in decoders))


def test_ctrl_c_ends_the_call_and_not_the_model(large: Path) -> None:
    """After Ctrl-C, which a terminal sends to all processes of a program, the model works on."""
    words = [sys.executable, "-c", INTERRUPTED, large]
    with subprocess.Popen(
        words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as script:
        assert script.stdout
        assert script.stdout.readline() == "ready\n"
        os.killpg(script.pid, signal.SIGINT)
        assert script.stdout.read() == "7\n"


def test_modules_of_the_user_are_not_taken_for_ours(large: Path, tmp_path: Path) -> None:
    """A script beside an `app.py` gets a plain error; one in another folder is not disturbed."""
    folder, scripts = tmp_path / "project", tmp_path / "scripts"
    code = "import sys, digitscope; print(digitscope.load().predict(sys.argv[1]).digit)"
    for path in (folder / "app.py", scripts / "script.py"):
        path.parent.mkdir()
        path.write_text(code)
    beside, elsewhere = (
        subprocess.run(
            [sys.executable, script, large],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        for script in (folder / "app.py", scripts / "script.py")
    )
    assert f"ImportError: digitscope needs its own package 'app', but Python finds {folder}" in (
        beside.stderr
    )
    assert (elsewhere.stdout, elsewhere.stderr) == ("7\n", "")
