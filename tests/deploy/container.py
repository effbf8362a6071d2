"""Build and run the image of `make image` by buildah, without a daemon, in a chroot.

Its base is a fresh Debian with Python, from the mirror of this machine's packages.
"""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.settings import REPOSITORY
from tests.ports import free_port
from tests.server.process import PATIENCE_S, Client

SUITE = "bookworm"
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
TOOLS = ("buildah", "debootstrap", "make", "ps", "unshare", "apt-get")
# Does what Docker does for `docker run --read-only --tmpfs /tmp`; the command becomes process 1.
READ_ONLY = """
root=$1; shift
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$@"
"""


def missing_requirement() -> str:
    """Return what this machine lacks to build an image; empty if nothing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"images need {', '.join(missing)} (Debian: apt-get install buildah debootstrap)"
    if os.geteuid() != 0:
        return "building an image in a chroot needs root"
    return "" if _mirror() else f"this machine has no package mirror of {SUITE}"


class Images:
    """Images and containers in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """Start without images."""
        self.folder = folder
        self.command = ["buildah", "--root", f"{folder}/store", "--runroot", f"{folder}/run"]

    def buildah(self, *words: str) -> str:
        """Run buildah and return its output."""
        return _run(*self.command, *words).strip()

    def make_base(self, name: str) -> None:
        """Build an image of Debian with Python."""
        tree = self.folder / "debian"
        _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, tree, _mirror())
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, str(tree), "/")
        shutil.rmtree(tree)
        self.buildah("config", "--env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", container)
        self.buildah("commit", "--quiet", "--rm", container, name)

    def make(self, context: Path = REPOSITORY, **variables: str) -> str:
        """Run `make image` with buildah instead of Docker; return the output."""
        known = _pip_settings()
        lines = [f"{name} = {value}" for name, value in known.items()]
        (self.folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
        builder = [*self.command, "bud", "--isolation", "chroot", "--network", "host"]
        builder += ["--format", "docker", "--layers"]
        builder += ["--volume", f"{self.folder}/pip.conf:/etc/pip.conf:ro"]
        if "cert" in known:
            builder += ["--volume", f"{known['cert']}:{known['cert']}:ro"]
        environment = {**os.environ, "BUILDER": " ".join(builder), **variables}
        return _run("make", "image", cwd=context, env=environment)

    def configuration(self, name: str) -> dict:
        """Return an image's configuration in Docker's format."""
        return json.loads(self.buildah("inspect", "--type", "image", name))["Docker"]["config"]

    def clear(self) -> None:
        """Delete all images and containers."""
        self.buildah("rm", "--all")
        # buildah mounts its storage folder on itself and does not unmount it.
        subprocess.run(["umount", f"{self.folder}/store/overlay"], check=False)
        shutil.rmtree(self.folder)


class Container(Client):
    """A container of an image that serves at a free port of this machine."""

    def __init__(self, images: Images, image: str) -> None:
        """Create the container; do not start it."""
        super().__init__(free_port())
        self.images, self.configuration = images, images.configuration(image)
        self.name = images.buildah("from", image)
        self.log = images.folder / f"{self.name}.log"

    def run_command(self, *words: str) -> list[str]:
        """Return the command that runs `words` in the container, as the image's user."""
        run = [*self.images.command, "run", "--isolation", "chroot"]
        own = [part for setting in self._settings() for part in ("--env", setting)]
        return [*run, *own, self.name, "--", *words]

    def read_only_command(self, *words: str) -> list[str]:
        """Return the command that runs `words` as process 1 on a read-only root."""
        settings, root = self.configuration, self.images.buildah("mount", self.name)
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        chroot = ["sh", "-ec", READ_ONLY, "sh", root, f"--userspec={settings['User']}", root]
        environment = ["env", "-i", "-C", settings["WorkingDir"], *settings["Env"]]
        return [*isolated, *chroot, *environment, *self._settings(), *words]

    def _settings(self) -> list[str]:
        return [f"DIGITSCOPE_PORT={self.port}", f"DIGITSCOPE_DEADLINE_S={PATIENCE_S}"]

    def healthy(self) -> bool:
        """Run the image's HEALTHCHECK in the container and return whether it succeeds."""
        kind, *words = self.configuration["Healthcheck"]["Test"]
        assert kind == "CMD"
        done = subprocess.run(self.run_command(*words), capture_output=True, check=False)
        return done.returncode == 0

    @contextmanager
    def serving(self, command: list[str]) -> Iterator[None]:
        """Run a command that serves; it is ready when the block begins."""
        with self.log.open("w") as lines:
            self.process = subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT)
        try:
            self.wait_until_ready()
            yield
        finally:
            if self.process.poll() is None:
                os.kill(self.server(), signal.SIGKILL)
            self.process.wait(PATIENCE_S)

    def server(self) -> int:
        """Return the id of the serving process: the last in a chain of only children."""
        children = {}
        for line in _run("ps", "-e", "-o", "ppid=,pid=").splitlines():
            parent, child = map(int, line.split())
            children.setdefault(parent, []).append(child)
        found = self.process.pid
        while found in children:
            (found,) = children[found]
        return found

    def stop(self) -> int:
        """Send SIGTERM to the serving process, and return the command's exit code."""
        os.kill(self.server(), signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def _run(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _mirror() -> str:
    """Return the mirror of this machine's packages of the suite; empty if there is none."""
    wanted = ("Created-By: Packages", "Origin: Debian", f"Codename: {SUITE}")
    found = _run("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted).split()
    return found[0] if found else ""


def _pip_settings() -> dict[str, str]:
    """Return the settings by which this machine's pip reaches its index, without local files."""
    lines = _run(sys.executable, "-m", "pip", "config", "list").splitlines()
    named = (line.split("=", 1) for line in lines)
    wanted = ("index-url", "extra-index-url", "cert", "proxy", "trusted-host")
    known = {}
    for name, value in named:
        words = [word for word in ast.literal_eval(value).split() if not word.startswith("file:")]
        if name.split(".")[-1] in wanted and words:
            known[name.split(".")[-1]] = " ".join(words)
    return known
