"""Reads ZIP archives, and NumPy arrays in them, within limits that are checked before reading.

The files of a bundle come from elsewhere: a small archive can declare any amount of data. Knows
archives and arrays; knows nothing of what they are for.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_NPZ_BYTES = 1 << 27  # bytes of all arrays of a file; the largest published one has 10 MB
MAX_MEMBERS = 10_000  # files in an archive
_NUMBERS = "biuf"  # kinds of dtypes that may be read: booleans, integers and floats
# Deflate can be undone step by step; the readers of the other methods have no limit.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # flag of a member


@contextmanager
def open_archive(content: bytes) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP archive; turn every error of reading it into a `ValueError`.

    Raises:
        ValueError: It is damaged, encrypted, or compressed by a method other than deflate; it has
            more than `MAX_MEMBERS` files, or two with the same name.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ValueError(f"it has {len(members)} files; expected at most {MAX_MEMBERS}")
            if len(set(archive.namelist())) < len(members):
                raise ValueError("two of its files have the same name")
            for member in members:
                if member.compress_type not in _METHODS or member.flag_bits & _ENCRYPTED:
                    raise ValueError(
                        f"{member.filename} is encrypted or not compressed by deflate; expected"
                        " a file as Keras or NumPy writes it"
                    )
            yield archive
    # zipfile raises NotImplementedError for features that it lacks, RuntimeError for encryption.
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"it is no readable ZIP archive: {error}") from error


def read_members(content: bytes, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Read the files of an archive.

    Args:
        content: The archive.
        limits: Bytes that each file may have, by name.

    Returns:
        The content of each file that is there.

    Raises:
        ValueError: The archive cannot be read, has another file, or one is too large.
    """
    with open_archive(content) as archive:
        for member in archive.infolist():
            if member.filename not in limits:
                raise ValueError(f"it holds {member.filename!r}; expected {', '.join(limits)}")
            if member.file_size > limits[member.filename]:
                raise ValueError(
                    f"{member.filename} declares {member.file_size} bytes; at most"
                    f" {limits[member.filename]} are read"
                )
        return {name: archive.read(name) for name in archive.namelist()}


def read_npz(
    content: bytes, names: Collection[str] | None = None, *, max_bytes: int = MAX_NPZ_BYTES
) -> dict[str, NDArray[Any]]:
    """Read arrays of numbers from an `.npz` file.

    Args:
        content: The file.
        names: Arrays to read if they are there; None for all.
        max_bytes: Bytes that these arrays may have together.

    Returns:
        The arrays by name.

    Raises:
        ValueError: The file cannot be read, holds something else than arrays of numbers, or the
            arrays are larger than allowed or than the data behind them.
    """
    with open_archive(content) as archive:
        members = [
            member
            for member in archive.infolist()
            if names is None or member.filename.removesuffix(".npy") in names
        ]
        declared = sum(member.file_size for member in members)
        if declared > max_bytes:
            raise ValueError(f"its arrays declare {declared} bytes; at most {max_bytes} are read")
        return {
            member.filename.removesuffix(".npy"): _read_array(archive, member) for member in members
        }


def check_npz(content: bytes) -> None:
    """Check the headers of all arrays of an `.npz` file, without reading the arrays.

    Raises:
        ValueError: `read_npz` would refuse the file.
    """
    with open_archive(content) as archive:
        declared = sum(member.file_size for member in archive.infolist())
        if declared > MAX_NPZ_BYTES:
            raise ValueError(
                f"its arrays declare {declared} bytes; at most {MAX_NPZ_BYTES} are read"
            )
        for member in archive.infolist():
            with archive.open(member) as file:
                _check_header(file, member)


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        _check_header(file, member)
    array: NDArray[Any] = npy.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
    return array


def _check_header(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Compare what the header of an array declares with the size of the file."""
    name = member.filename
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has version {version} of the .npy format; expected 1.0 or 2.0")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.kind not in _NUMBERS:
        raise ValueError(
            f"{name} holds {dtype}; expected numbers (it is read with allow_pickle=False)"
        )
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + declared != member.file_size:
        raise ValueError(
            f"{name} declares {dtype} {list(shape)}, {declared} bytes, but has"
            f" {member.file_size - file.tell()}"
        )
