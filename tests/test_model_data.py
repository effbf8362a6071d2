"""A model file is only data: what declares more than it holds, or leads elsewhere, is refused.

Each hostile file has right hashes. No test allocates what a file declares.
"""

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from app.archives import check_npz, read_npz
from app.bundle import (
    COMPILED_FILE,
    KERAS_FILE,
    MAX_BUNDLE_BYTES,
    MAX_FILE_BYTES,
    METADATA,
    Bundle,
    open_bundle,
)
from app.embeddings import EMBEDDINGS_FILE, read_embeddings
from app.errors import BundleError
from app.inference.bundle_check import check_bundle
from app.inference.keras_runtime import load_keras
from app.inference.registry import Registry
from app.inspection.snapshots import network_at
from app.network.keras_file import KerasFileError, check_keras_file, read_keras_file
from tests.bundles import SMALL, add_bundle, replace_file, replace_member

KERAS = (SMALL / KERAS_FILE).read_bytes()
WEIGHTS = "model.weights.h5"
KERNEL = "layers/conv2d/vars/0"
SECRET = b"the secret of another file" * 400
HUGE = (30_000, 30_000)


def _with_members(**members: bytes) -> bytes:
    """Return the small network's Keras file with other content for some of its files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(KERAS)) as old, zipfile.ZipFile(stream, "w") as new:
        contents = {name: old.read(name) for name in old.namelist()} | members
        for name, content in contents.items():
            new.writestr(name, content)
    return stream.getvalue()


def _with_weights(change: Callable[[h5py.File], object]) -> bytes:
    """Return the small network's Keras file with a changed weights file."""
    with zipfile.ZipFile(io.BytesIO(KERAS)) as archive:
        stream = io.BytesIO(archive.read(WEIGHTS))
    with h5py.File(stream, "r+") as file:
        change(file)
    return _with_members(**{WEIGHTS: stream.getvalue()})


def _config() -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(KERAS)) as archive:
        config: dict[str, Any] = json.loads(archive.read("config.json"))
    return config


def _replace(file: h5py.File, **options: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, **options)


def _external_storage(file: h5py.File, path: Path) -> None:
    shape = file[KERNEL].shape
    _replace(file, shape=shape, dtype="f4", external=[(str(path), 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File, path: Path) -> None:
    shape = file[KERNEL].shape
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(str(path), "secret", shape)
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def _link(file: h5py.File, link: object, name: str = KERNEL) -> None:
    del file[name]
    file[name] = link


LINKS: dict[str, Callable[[h5py.File, Path], object]] = {
    "external storage": _external_storage,
    "virtual dataset": _virtual,
    "external link": lambda file, path: _link(file, h5py.ExternalLink(str(path), "secret")),
    "external link of a group": lambda file, path: _link(
        file, h5py.ExternalLink(str(path), "/"), "layers/conv2d"
    ),
    "soft link": lambda file, path: _link(file, h5py.SoftLink("/layers/conv2d/vars/1")),
    "second name": lambda file, path: _link(file, file["layers/dense/vars/0"]),
    "group in itself": lambda file, path: file["layers"].__setitem__("again", file["layers"]),
}
SIZES: dict[str, Callable[[h5py.File], object]] = {
    "never written": lambda file: _replace(file, shape=HUGE, dtype="f4"),
    "pieces": lambda file: _replace(file, shape=HUGE, dtype="f4", chunks=(100, 100)),
    "compressed": lambda file: _replace(file, data=np.zeros((900, 900), "f4"), compression="gzip"),
    "more weights than the model has": lambda file: _replace(file, data=np.zeros(99_999, "f4")),
    "texts": lambda file: _replace(file, data=["a", "b"]),
    "a type": lambda file: (file.pop(KERNEL), file.__setitem__(KERNEL, np.dtype("f4"))),
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside the bundle: its bytes, and an HDF5 file with a dataset."""
    path = tmp_path / "secret"
    with h5py.File(path, "w") as file:
        file["secret"] = np.frombuffer(SECRET[: len(SECRET) // 4 * 4], "f4")
    return path


@pytest.mark.parametrize("kind", LINKS)
def test_weights_that_lie_elsewhere_are_refused(secret: Path, kind: str) -> None:
    """No reader follows a way out of the weights file: neither ours nor Keras."""
    content = _with_weights(lambda file: LINKS[kind](file, secret))
    for read in (read_keras_file, check_keras_file):
        with pytest.raises(KerasFileError, match=r"conv2d|layers/again"):
            read(content)
    with pytest.raises(BundleError, match=r"conv2d|layers/again"):
        load_keras(content)


@pytest.mark.parametrize("kind", SIZES)
def test_weights_that_are_not_in_the_file_are_refused(kind: str) -> None:
    """What a dataset declares must be in the file, as numbers, and no more than the model has."""
    content = _with_weights(SIZES[kind])
    for read in (read_keras_file, check_keras_file):
        with pytest.raises(KerasFileError, match=r"conv2d|weights"):
            read(content, 30_000)


def test_dataset_beyond_the_end_of_the_file_is_refused() -> None:
    """A size that was changed in the file's own structure is compared with the file."""
    with zipfile.ZipFile(io.BytesIO(KERAS)) as archive:
        stored = archive.read(WEIGHTS)
    with h5py.File(io.BytesIO(stored)) as file:
        dataset = file[KERNEL]
        layout = struct.pack("<QQ", dataset.id.get_offset(), dataset.nbytes)
        shape = struct.pack(f"<{dataset.ndim}Q", *dataset.shape)
    assert (stored.count(layout), stored.count(shape) > 0) == (1, True)
    size = 4 * 30_000**2
    forged = stored.replace(layout, layout[:8] + struct.pack("<Q", size))
    forged = forged.replace(shape, struct.pack(f"<{len(shape) // 8}Q", 1, 1, *HUGE))
    with pytest.raises(KerasFileError, match=r"declares \[|invalid dataset size"):
        read_keras_file(_with_members(**{WEIGHTS: forged}))


def _nested_models(levels: int) -> dict[str, Any]:
    """Return a model that calls a model twice, which calls a model twice, and so on."""
    model: dict[str, Any] = {
        "class_name": "Sequential",
        "config": {"name": "inner", "layers": []},
    }
    for level in range(levels):
        twice = {"class_name": "Sequential", "config": {"name": f"twice_{level}"}}
        model["config"]["name"] = "inner"
        twice["config"]["layers"] = [model, {**model, "config": {**model["config"], "name": "b"}}]
        model = twice
    return model


CONFIGS: dict[str, bytes] = {
    "list": b"[]",
    "number": b"7",
    "no JSON": b"{",
    "deep": b'{"class_name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "rather deep": b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}",
    "large": b'{"a": "' + b" " * 3_000_000 + b'"}',
    "no layers": b'{"class_name": "Sequential", "config": {}}',
    "layers of no form": b'{"class_name": "Sequential", "config": {"layers": [[], 1, null]}}',
    "twice, and twice again": json.dumps(_nested_models(15)).encode(),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_configurations_of_any_form_are_refused(kind: str) -> None:
    """The reason is given, and reading takes neither long nor much memory."""
    with pytest.raises(KerasFileError, match=r"not a readable \.keras file"):
        read_keras_file(_with_members(**{"config.json": CONFIGS[kind]}))


def test_archives_that_hold_more_than_they_should_are_refused() -> None:
    """A compressed file of zeros, an unknown file, and a method without limits are not unpacked."""
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b"{}")
        with archive.open(WEIGHTS, "w", force_zip64=True) as file:
            for _ in range(300):
                file.write(bytes(1 << 20))
    with pytest.raises(KerasFileError, match="declares 314572800 bytes; at most"):
        read_keras_file(bomb.getvalue())
    with pytest.raises(KerasFileError, match="holds 'assets/a'"):
        read_keras_file(_with_members(**{"assets/a": b"x"}))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("config.json", b"{}")
    with pytest.raises(KerasFileError, match="not compressed by deflate"):
        read_keras_file(stream.getvalue())


@pytest.mark.slow
def test_configuration_that_declares_more_than_the_file_holds_is_refused() -> None:
    """Keras does not allocate weights that a model declares but the file lacks."""
    config = json.dumps(_config()).replace('"units": 10,', '"units": 30000000,').encode()
    content = _with_members(**{"config.json": config})
    with pytest.raises(BundleError, match=r"declares \d+ weights"):
        load_keras(content, max_weights=30_000)


def _npy(header: str, data: bytes = b"") -> bytes:
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + data


NPY: dict[str, bytes] = {
    "huge": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (30000, 30000)}"),
    "negative": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
    "objects": _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"x"),
    "texts of no length": _npy("{'descr': '<U0', 'fortran_order': False, 'shape': (99999999,)}"),
    "no header": _npy("import os"),
    "no array": b"x",
}


@pytest.mark.parametrize("kind", NPY)
def test_arrays_that_are_not_in_the_file_are_refused(kind: str) -> None:
    """The header of an array is compared with the size of the file before it is read."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("directions.npy", NPY[kind])
    with pytest.raises(ValueError, match=r".+"):
        check_npz(stream.getvalue())
    with pytest.raises(BundleError, match=f"{EMBEDDINGS_FILE} cannot be read"):
        read_embeddings(stream.getvalue())


def test_compressed_arrays_of_zeros_are_refused() -> None:
    """Arrays may not be larger together than they plausibly are."""
    stream = io.BytesIO()
    np.savez_compressed(stream, directions=np.zeros((1 << 18, 512), np.uint8))
    assert len(stream.getvalue()) < 1 << 18
    with pytest.raises(ValueError, match="declare 134217856 bytes; at most 134217728"):
        read_npz(stream.getvalue())
    assert not read_npz(stream.getvalue(), ["labels"])


def test_large_snapshots_are_refused(tmp_path: Path) -> None:
    """A snapshot is no larger than the network whose weights it holds."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{"conv_1/kernel": np.zeros(1 << 24, np.uint8)})
    bundle = add_bundle(tmp_path / "models", "small")
    replace_file(bundle, "snapshots/epoch-001.npz", stream.getvalue())
    registry = Registry(tmp_path / "models", "small", interpreters=1)
    registry.load()
    model = registry.get(None)
    assert "conv_1" in model.network.by_name
    with pytest.raises(BundleError, match=r"epoch-001.npz cannot be read: its arrays declare"):
        network_at(model, 1)


def _symlink(bundle: Path, secret: Path, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).symlink_to(secret)


def _folder_link(bundle: Path, secret: Path) -> None:
    (bundle / "snapshots").rename(bundle.parent.parent / "moved")
    (bundle / "snapshots").symlink_to(bundle.parent.parent / "moved")


def _pipe(bundle: Path, secret: Path) -> None:
    (bundle / EMBEDDINGS_FILE).unlink()
    os.mkfifo(bundle / EMBEDDINGS_FILE)


def _enlarge(bundle: Path, secret: Path) -> None:
    os.truncate(bundle / COMPILED_FILE, 1 << 40)


def _enlarge_arrays(bundle: Path, secret: Path) -> None:
    os.truncate(bundle / EMBEDDINGS_FILE, MAX_FILE_BYTES + 1)


def _list_often(bundle: Path, secret: Path) -> None:
    """List one file of holes under several names, which are more than a bundle together."""
    with (bundle / "holes").open("wb") as file:
        file.truncate(MAX_FILE_BYTES)
    names = ["./" * count + "holes" for count in range(MAX_BUNDLE_BYTES // MAX_FILE_BYTES + 1)]
    document = json.loads((bundle / METADATA).read_text())
    document["files"] |= dict.fromkeys(names, "0" * 64)
    (bundle / METADATA).write_text(json.dumps(document))


FILES: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "link": (lambda bundle, secret: _symlink(bundle, secret, KERAS_FILE), "symbolic link"),
    "link of metadata": (lambda bundle, secret: _symlink(bundle, secret, METADATA), "symbolic"),
    "link of a folder": (_folder_link, "symbolic link"),
    "named pipe": (_pipe, "no regular file"),
    "arrays": (_enlarge_arrays, f"{MAX_FILE_BYTES + 1} bytes; at most"),
    "one file, often": (_list_often, "all files of a bundle together"),
    "a terabyte of holes": (_enlarge, "1099511627776 bytes; at most"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_outside_the_bundle_are_not_read(tmp_path: Path, secret: Path, kind: str) -> None:
    """Links that leave the folder, pipes and implausibly large files are refused unread."""
    harm, said = FILES[kind]
    bundle = add_bundle(tmp_path / "models", "small")
    harm(bundle, secret)
    with pytest.raises(BundleError, match=said) as refused:
        open_bundle(bundle)
    assert str(bundle) in refused.value.detail


def test_links_inside_the_bundle_are_followed(tmp_path: Path) -> None:
    """A bundle may be a link itself, and its files may be links to each other."""
    bundle = add_bundle(tmp_path / "elsewhere", "small")
    (bundle / "data").mkdir()
    (bundle / KERAS_FILE).rename(bundle / "data" / "1")
    (bundle / KERAS_FILE).symlink_to(Path("data") / "1")
    (tmp_path / "small").symlink_to(bundle)
    assert open_bundle(tmp_path / "small").read(KERAS_FILE) == KERAS


def _check(folder: Path) -> Bundle:
    bundle = open_bundle(folder)
    check_bundle(bundle)
    return bundle


def test_all_hostile_files_of_a_bundle_are_named(tmp_path: Path, secret: Path) -> None:
    """One check names every file with its reason; a whole bundle passes."""
    folder = add_bundle(tmp_path / "models", "hostile")
    assert _check(folder).metadata.name == "hostile"
    replace_file(folder, KERAS_FILE, _with_weights(lambda file: _external_storage(file, secret)))
    replace_file(folder, COMPILED_FILE, b"x")
    replace_file(folder, EMBEDDINGS_FILE, b"x")
    with pytest.raises(BundleError) as refused:
        _check(folder)
    for name in (KERAS_FILE, COMPILED_FILE, EMBEDDINGS_FILE):
        assert str(folder / name) in refused.value.detail


def test_hostile_bundles_fail_at_start_at_reload_and_in_the_folder(
    tmp_path: Path, secret: Path
) -> None:
    """The default stops the start; another fails before it is asked for; a reload keeps the old."""
    models = tmp_path / "models"
    hostile = _with_weights(lambda file: _external_storage(file, secret))
    add_bundle(models, "default")
    registry = Registry(models, "default", interpreters=1)
    registry.load()
    replace_file(add_bundle(models, "other"), KERAS_FILE, hostile)
    replace_file(add_bundle(models, "default", version=2), KERAS_FILE, hostile)
    with pytest.raises(BundleError, match="takes its values from elsewhere"):
        registry.reload("default")
    registry.refresh()
    registry.refresh()
    assert registry.get("default").bundle.metadata.version == 1
    assert "takes its values from elsewhere" in registry.entries["other"].failure
    with pytest.raises(BundleError, match="takes its values from elsewhere"):
        Registry(models, "default", interpreters=1).load()


def test_configuration_of_another_bundle_is_found_out(tmp_path: Path) -> None:
    """A member that was replaced in place is checked like a new file."""
    bundle = add_bundle(tmp_path / "models", "small")
    replace_member(bundle, "config.json", b"[]")
    with pytest.raises(BundleError, match=r"config.json must hold an object, not list"):
        _check(bundle)
