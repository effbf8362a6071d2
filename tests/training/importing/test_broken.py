"""Files that cannot be imported: each gets one plain sentence that says what to do."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import pytest
from keras import layers

from app.samples import sample_png
from training.errors import ImportingError
from training.importing.options import Options
from training.importing.run import import_file


def _network(*inner: keras.layers.Layer, shape: tuple[int, ...] = (28, 28, 1)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *inner, layers.Flatten(), layers.Dense(10)])


def _save(model: keras.Model, path: Path, name: str = "model.keras") -> Path:
    model.save(path / name)
    return path / name


def _edit(path: Path, change: Callable[[dict], None]) -> Path:
    """Change the configuration in a `.keras` file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    path.write_bytes(stream.getvalue())
    return path


def _write(path: Path, content: bytes) -> Path:
    (path / "model.bin").write_bytes(content)
    return path / "model.bin"


def _lambda(path: Path) -> Path:
    return _save(_network(layers.Lambda(lambda x: x / 255, name="scaling")), path)


class Doubled(keras.layers.Layer):
    """A class that Keras does not know."""

    def call(self, values):
        """Double the values."""
        return 2 * values


def _custom(path: Path) -> Path:
    return _save(_network(Doubled(name="doubled")), path)


def _other_module(path: Path) -> Path:
    """A class of another module, as an attack on Keras's loader has it."""

    def change(config: dict) -> None:
        layer = config["config"]["layers"][1]
        layer |= {"module": "os", "class_name": "system", "config": {"command": "true"}}

    return _edit(_save(_network(), path), change)


def _weights_only(path: Path) -> Path:
    _network().save_weights(path / "model.weights.h5")
    return path / "model.weights.h5"


def _two_images(path: Path) -> Path:
    inputs = [keras.Input((28, 28, 1), name=name) for name in ("left", "right")]
    both = layers.Flatten()(layers.Concatenate()(inputs))
    return _save(keras.Model(inputs, layers.Dense(10)(both)), path)


def _declares_much(path: Path) -> Path:
    """A layer that declares 900 million weights; the file holds a few."""

    def change(config: dict) -> None:
        dense = config["config"]["layers"][-1]["config"]
        dense["units"] = 30_000

    return _edit(_save(_network(layers.Flatten(), layers.Dense(30)), path), change)


def _truncated(path: Path) -> Path:
    file = _save(_network(), path)
    file.write_bytes(file.read_bytes()[:-500])
    return file


def _truncated_h5(path: Path) -> Path:
    file = _save(_network(), path, "model.h5")
    file.write_bytes(file.read_bytes()[:3000])
    return file


def _external(path: Path) -> Path:
    """Weights that lie in another file."""
    file = _save(_network(), path, "model.h5")
    with h5py.File(file, "a") as opened:
        opened.create_dataset("secret", (4,), "u1", external=[("/etc/hostname", 0, 4)])
    return file


class Subclassed(keras.Model):
    """A model whose layers are in its code, not in its file."""

    def __init__(self, **options):
        """Make a layer."""
        super().__init__(**options)
        self.dense = layers.Dense(10)

    def call(self, values):
        """Call it."""
        return self.dense(values)


def _subclassed(path: Path) -> Path:
    model = Subclassed()
    model(keras.ops.zeros((1, 784)))
    return _save(model, path)


def _torch(path: Path) -> Path:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
    return _write(path, stream.getvalue())


def _not_square(path: Path) -> Path:
    return _save(_network(shape=(28, 30, 1)), path)


def _one_output(path: Path) -> Path:
    model = keras.Sequential([keras.Input((784,)), layers.Dense(1, activation="sigmoid")])
    return _save(model, path)


def _untrained(path: Path) -> Path:
    return _save(_network(), path)


def _tflite(path: Path) -> Path:
    return _write(path, struct.pack("<I", 28) + b"TFL3" + bytes(100))


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "Lambda": (_lambda, "layer 'scaling' .*layers.1.* holds Python code.*--trust lambda"),
    "custom class": (_custom, "layer 'doubled' .*needs 'Doubled'.*--trust MODULE"),
    "subclassed model": (_subclassed, "holds a subclassed model .Subclassed.*keras.Model"),
    "another module": (_other_module, "needs 'system', which is no part of Keras"),
    "weights only": (_weights_only, "holds weights but no network.*model.save"),
    "two images": (_two_images, r"takes 2 inputs \(left, right\)"),
    "declares more": (_declares_much, "declares .* weights, but the file holds"),
    "truncated": (_truncated, "is a damaged file"),
    "truncated .h5": (_truncated_h5, "cannot be read"),
    "external weights": (_external, "takes its values from elsewhere"),
    "PyTorch": (_torch, "is a PyTorch file.*docs/import.md"),
    "pickle": (lambda path: _write(path, pickle.dumps([1])), "is a pickle"),
    "picture": (lambda path: _write(path, sample_png(3)), "no network in a format that is known"),
    "empty": (lambda path: _write(path, b""), "is empty"),
    "missing": (lambda path: path / "nothing.keras", "There is no file"),
    "folder": (lambda path: path, "is a folder"),
    "not square": (_not_square, "of the shape 28x30x1; expected an image such as 28x28"),
    "one output": (_one_output, "output has the shape 1; expected 2 to 100 classes"),
    "untrained": (_untrained, "range of its pixels cannot be found. Give it with --input"),
    "damaged .tflite": (_tflite, "no LiteRT model|cannot be read"),
}


@pytest.mark.parametrize("fault", [name for name in BROKEN if name != "damaged .tflite"])
def test_broken_file_gets_a_sentence(tmp_path: Path, fault: str) -> None:
    """The message is one line, names the fault and what to do; nothing is written."""
    make, sentence = BROKEN[fault]
    keras.utils.set_random_seed(3)
    (tmp_path / "files").mkdir()
    path = make(tmp_path / "files")
    with pytest.raises(ImportingError, match=sentence) as caught:
        import_file(path, Options("broken"), tmp_path / "models")
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert not list((tmp_path / "models").glob("*/*"))


def test_no_code_of_a_file_runs(tmp_path: Path) -> None:
    """A Lambda that would write a file does not, whether the file is .keras or .h5."""
    mark = str(tmp_path / "ran")

    layer = layers.Lambda(
        lambda values, mark=mark: (open(mark, "w").close(), values)[1], name="evil"
    )
    for name in ("model.keras", "model.h5"):
        path = _save(_network(layer), tmp_path, name)
        Path(mark).unlink()  # the network was built, which runs the code
        with pytest.raises(ImportingError, match="'evil'"):
            import_file(path, Options("evil"), tmp_path / "models")
        assert not Path(mark).exists()
        layer = layers.Lambda(layer.function, name="evil")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("input", "0..2", "expected auto, 0..255"),
        ("input", "1,0", "expected auto, 0..255"),
        ("trust", ("no_such_module",), "cannot be imported"),
    ],
)
def test_wrong_options_get_a_sentence(
    tmp_path: Path, option: str, value: object, sentence: str
) -> None:
    """The message names the option and what it expects."""
    path = _save(_network(), tmp_path)
    with pytest.raises(ImportingError, match=sentence):
        import_file(path, Options("model", **{option: value}), tmp_path / "models")


def test_names_must_fit_the_network(tmp_path: Path) -> None:
    """A file with another number of names is refused with both numbers."""
    path, names = _save(_network(), tmp_path), tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    with pytest.raises(ImportingError, match="3 names; the network has 10 classes"):
        import_file(path, Options("model", classes=names), tmp_path / "models")
