"""The Python of docs/using.md runs as it is written, and prints what it says."""

import re
import subprocess
import sys

import digitscope
from app.settings import REPOSITORY
from tests.server.process import PATIENCE_S

GUIDE = (REPOSITORY / "docs" / "using.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_snippets_print_what_they_say() -> None:
    """What follows a `print` as a comment is printed."""
    code = "\n".join(SNIPPETS)
    shown = re.findall(r"print\(.*\)  # (?!such as)(.*)", code)
    assert len(shown) >= 5
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.splitlines()
    assert [line for line in shown if line not in printed] == [], printed


def test_methods_in_the_table_exist() -> None:
    """The table of methods names the public methods of a model, and no other."""
    table = GUIDE.partition("| method | result |\n")[2].partition("\n\n")[0]
    first_column = " ".join(line.split(" | ")[0] for line in table.splitlines())
    named = set(re.findall(r"`(\w+)(?:\(.*?\))?`", first_column))
    public = {name for name in dir(digitscope.Model) if not name.startswith("_")}
    assert public - named == {"classes", "metadata", "name", "version"}
    assert named <= public
