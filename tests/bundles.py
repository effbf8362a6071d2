"""Small bundles that tests may break: copies of the one that digitscope 0.1 wrote."""

import io
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from app.bundle import COMPILED_FILE, KERAS_FILE, METADATA, Metadata, seal
from app.settings import REPOSITORY

if TYPE_CHECKING:
    import keras

SMALL = REPOSITORY / "tests" / "data" / "bundles" / "version-0-1"


def add_bundle(models: Path, name: str, version: int = 1, *, compiled: bool = True) -> Path:
    """Write a bundle, or replace the one of this name.

    Args:
        models: The folder of bundles.
        name: Name of the model.
        version: Its version.
        compiled: Whether it has a compiled model.

    Returns:
        The bundle's folder.
    """
    fresh, place = models.parent / f"{name}.new", models / name
    shutil.copytree(SMALL, fresh)
    metadata = Metadata.model_validate_json((fresh / METADATA).read_text())
    if not compiled:
        (fresh / COMPILED_FILE).unlink()
    seal(fresh, metadata.model_copy(update={"name": name, "version": version}))
    shutil.rmtree(place, ignore_errors=True)
    models.mkdir(exist_ok=True)
    fresh.rename(place)
    return place


def add_network(models: Path, name: str, network: "keras.Model", compiled: bytes) -> Path:
    """Write a bundle of a Keras network and its compiled model, with the metadata of the small one.

    Returns:
        The bundle's folder.
    """
    place = models / name
    place.mkdir(parents=True)
    network.save(place / KERAS_FILE)
    (place / COMPILED_FILE).write_bytes(compiled)
    metadata = Metadata.model_validate_json((SMALL / METADATA).read_text())
    classes = [str(index) for index in range(network.output_shape[-1])]
    changes = {"name": name, "parameters": network.count_params(), "classes": classes}
    seal(place, metadata.model_copy(update={**changes, "files": {}}))
    return place


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Write a file of a bundle and seal the bundle, so that its hash is right."""
    (bundle / name).write_bytes(content)
    metadata = Metadata.model_validate_json((bundle / METADATA).read_text())
    seal(bundle, metadata)


def replace_member(bundle: Path, member: str, content: bytes) -> None:
    """Replace a file inside the Keras file of a bundle, and seal the bundle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(bundle / KERAS_FILE) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))
    replace_file(bundle, KERAS_FILE, stream.getvalue())
