"""Tells the format of a network's file by its content; the name counts for nothing.

Also names files that people often have instead of a network, with what to do about each.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.archives import open_archive
from app.bundle import MAX_FILE_BYTES, METADATA
from training.errors import ImportingError

Format = Literal["keras", "h5", "tflite", "onnx", "savedmodel"]
HDF5 = b"\x89HDF\r\n\x1a\n"
_FORMATS = "a .keras, .h5, .tflite or .onnx file"
_EXPORT = "see docs/import.md for how to export it to ONNX"


@dataclass(frozen=True)
class Source:
    """A file to import.

    Attributes:
        path: The file, or the folder of a SavedModel.
        format: Its format.
        content: Its bytes; empty for a folder.
    """

    path: Path
    format: Format
    content: bytes

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the file; of a folder, that of all its files in order."""
        if self.content:
            return hashlib.sha256(self.content).hexdigest()
        digest = hashlib.sha256()
        for path in sorted(each for each in self.path.rglob("*") if each.is_file()):
            digest.update(path.relative_to(self.path).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
        return digest.hexdigest()


def read_source(path: Path) -> Source:
    """Read a file and tell its format.

    Raises:
        ImportingError: There is no such file, it is too large, or it is no network.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return _read_folder(path)
        if not stat.S_ISREG(status.st_mode):  # to open a named pipe would wait for a writer
            raise ImportingError(f"{path} is no regular file; give {_FORMATS}.")
        if status.st_size > MAX_FILE_BYTES:
            raise ImportingError(
                f"{path} has {status.st_size:,} bytes; a network may have at most"
                f" {MAX_FILE_BYTES:,}. Save it without the optimizer:"
                " keras.models.load_model(path, compile=False).save('model.keras')."
            )
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ImportingError(f"There is no file {path}.") from error
    except OSError as error:
        raise ImportingError(f"{path} cannot be read: {error.strerror}.") from error
    return Source(path, _tell(path, content), content)


def _read_folder(path: Path) -> Source:
    if (path / METADATA).exists():
        raise ImportingError(
            f"{path} is a digitscope bundle already: copy it into DIGITSCOPE_MODEL_DIR to serve it."
        )
    if (path / "saved_model.pb").exists():
        return Source(path, "savedmodel", b"")
    raise ImportingError(f"{path} is a folder; give {_FORMATS}, or the folder of a SavedModel.")


def _tell(path: Path, content: bytes) -> Format:
    if not content:
        raise ImportingError(f"{path} is empty.")
    if content.startswith(HDF5):
        return "h5"
    if content[4:8] == b"TFL3":
        return "tflite"
    if content.startswith(b"PK"):
        return _tell_archive(path, content)
    if content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        raise ImportingError(
            f"{path} is a pickle, which runs code when it is opened; it is not opened. Save the"
            f" network with model.save('model.keras'), or, of PyTorch, {_EXPORT}."
        )
    if _is_onnx(content):
        return "onnx"
    raise ImportingError(f"{path} is no network in a format that is known; give {_FORMATS}.")


def _tell_archive(path: Path, content: bytes) -> Format:
    try:
        with open_archive(content) as archive:
            names = archive.namelist()
    except ValueError as error:
        raise ImportingError(f"{path} is a damaged file: {error}.") from error
    if "config.json" in names:
        return "keras"
    if any(name.endswith("data.pkl") for name in names):
        raise ImportingError(
            f"{path} is a PyTorch file, which runs code when it is opened; it is not opened."
            f" Export the network to ONNX: {_EXPORT.removeprefix('see ')}."
        )
    if any(name.endswith("saved_model.pb") for name in names):
        raise ImportingError(f"{path} holds a SavedModel; unpack it and give its folder.")
    raise ImportingError(f"{path} is a ZIP archive without a network; give {_FORMATS}.")


def _is_onnx(content: bytes) -> bool:
    """Tell whether a file begins as an ONNX model: protobuf with a version and a producer."""
    # Field 1 (ir_version) is a varint; ONNX writers put it first, then the producer or the graph.
    return (
        content[:1] == b"\x08" and content[1] < 64 and content[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42)
    )
