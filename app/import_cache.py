"""Imports a network's file into a cache, for `digitscope serve FILE`.

The import runs in a process of its own, because it loads TensorFlow and reads a file that may come
from anyone. Knows files and the command; knows nothing of networks.
"""

import hashlib
import os
import re
import subprocess
from pathlib import Path

from app.errors import BundleError
from app.own_modules import command_for, environment_for
from app.version import VERSION

MAX_NAME = 60  # characters of a name that is made of a file's


def model_name_of(file: Path) -> str:
    """Return the name of a model that is made of a file's name."""
    plain = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:MAX_NAME].rstrip("-")
    return plain or "imported"


def import_into_cache(file: Path) -> tuple[Path, str]:
    """Import a file, unless the cache holds it already.

    Args:
        file: The network's file, or the folder of a SavedModel.

    Returns:
        The folder of models, and the name of the imported one.

    Raises:
        BundleError: The import failed; it has said why on the standard error stream.
    """
    if not file.exists():
        raise BundleError(f"There is no file {file}.")
    name, folder = model_name_of(file), _cache() / _key(file)
    if not (folder / name / "metadata.json").exists():
        command = [*command_for("digitscope"), "import", str(file)]
        command += ["--name", name, "--out", str(folder)]
        imported = subprocess.run(command, env=environment_for(), check=False)
        if imported.returncode:
            raise BundleError(f"{file} cannot be served, because it cannot be imported.")
    return folder, name


def _cache() -> Path:
    """Return the folder of the cache, as the XDG base directories have it."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "digitscope" / "imports"


def _key(file: Path) -> str:
    """Return a name for the content of a file and the version that imports it."""
    digest = hashlib.sha256(VERSION.encode())
    files = sorted(file.rglob("*")) if file.is_dir() else [file]
    for each in files:
        if each.is_file():
            with each.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:24]
