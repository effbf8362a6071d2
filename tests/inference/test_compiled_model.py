"""The compiled model against the Keras file that it was made from."""

import shutil
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.bundle import COMPILED_FILE, KERAS_FILE, Metadata, seal
from app.errors import BundleError, NotReadyError
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.litert_runtime import LiteRtRuntime
from app.inference.model import Model
from app.inference.registry import Registry
from app.main import create_app
from app.samples import sample_png
from app.settings import REPOSITORY, Settings
from tests.bundles import add_bundle, replace_file
from tests.conftest import Digits

pytestmark = pytest.mark.slow

NAMES = sorted(path.parent.name for path in (REPOSITORY / "model").glob("*/metadata.json"))


@pytest.mark.parametrize("name", NAMES)
def test_compiled_model_gives_the_outputs_of_the_keras_file(
    registry: Registry, digits: Digits, name: str
) -> None:
    """On 1,000 digits, the probabilities of Keras and of LiteRT agree within 1e-5."""
    bundle = registry.get(name).bundle
    # The ensemble computes thirty times as much as the others: every fifth digit.
    images = digits.images[:: 5 if name == "ensemble" else 1]
    expected = KerasRuntime(load_keras(bundle.read("model.keras"))).predict(images)
    compiled = LiteRtRuntime(bundle.read(COMPILED_FILE), interpreters=1).predict(images)
    np.testing.assert_allclose(compiled.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(compiled.logits, expected.logits, atol=1e-3)
    np.testing.assert_allclose(compiled.features, expected.features, atol=1e-3)


def test_int8_model_agrees_with_float32(registry: Registry, digits: Digits) -> None:
    """On 1,000 digits, int8 differs from float32 by no more than the model card states."""
    model = registry.get("compact")
    quantization = model.bundle.metadata.quantization
    assert quantization is not None
    float32 = LiteRtRuntime(model.bundle.read(COMPILED_FILE), interpreters=1).predict(digits.images)
    int8 = model.runtime.predict(digits.images)
    apart = np.abs(int8.probabilities - float32.probabilities)
    assert 0 < apart.mean() <= 2 * quantization.validation.mean_difference
    assert (int8.probabilities.argmax(1) != float32.probabilities.argmax(1)).sum() <= 3
    # Inspection runs in float32.
    in_float32 = model.in_float32.runtime.predict(digits.images)
    np.testing.assert_array_equal(in_float32.logits, float32.logits)


@pytest.mark.parametrize("name", NAMES)
def test_keras_file_needs_no_custom_code(name: str) -> None:
    """The file loads in safe mode with stock layers; raw pixels go in, ten numbers come out."""
    path = REPOSITORY / "model" / name / "model.keras"
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    assert model.input_shape == (None, 28, 28, 1)
    assert model.output_shape == (None, 10)


def test_batch_of_any_size_equals_single_images(classic: Model, digits: Digits) -> None:
    """The batch size does not change the probabilities; an empty batch gives none."""
    images = digits.images[:75]
    together = classic.runtime.predict(images).probabilities
    alone = np.concatenate([classic.runtime.predict(image[None]).probabilities for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert classic.runtime.predict(images[:0]).probabilities.shape == (0, 10)


def test_float_pixels_equal_bytes(classic: Model, digits: Digits) -> None:
    """Pixels as float32 mean the same as bytes."""
    images = digits.images[:8]
    by_bytes = classic.runtime.predict(images).probabilities
    np.testing.assert_array_equal(
        classic.runtime.predict(images.astype(np.float32)).probabilities, by_bytes
    )


def test_threads_do_not_disturb_each_other(classic: Model, digits: Digits) -> None:
    """More threads than interpreters, each with its own images, all get their own answers."""
    expected = classic.runtime.predict(digits.images[:160]).probabilities
    got: dict[int, np.ndarray] = {}

    def work(part: int) -> None:
        for _ in range(5):
            rows = slice(20 * part, 20 * part + 20)
            got[part] = classic.runtime.predict(digits.images[rows]).probabilities

    threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(
        np.concatenate([got[part] for part in range(8)]), expected, atol=1e-6
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, on its way to LiteRT
def test_bundle_without_a_compiled_model_is_compiled_at_start(tmp_path: Path) -> None:
    """A bundle without a compiled model is compiled at start and at a reload, and then served."""
    folder = tmp_path / "model" / "classic"
    shutil.copytree(REPOSITORY / "model" / "classic", folder)
    (folder / COMPILED_FILE).unlink()
    seal(folder, Metadata.model_validate_json((folder / "metadata.json").read_text()))
    token = "the admin token"
    settings = Settings(
        model_dir=folder.parent, default_model="classic", admin_token=token, deadline_s=60
    )
    with TestClient(create_app(settings)) as client:
        early = client.post("/predict", files={"file": sample_png(7)})
        assert early.status_code == 503
        assert "Retry-After" in early.headers
        assert client.get("/livez").status_code == 200
        service = client.app_state["service"]
        made = service.registry.wait_for("classic")
        assert isinstance(made.runtime, LiteRtRuntime)
        assert client.get("/readyz").status_code == 200
        headers = {"Authorization": f"Bearer {token}"}
        reloaded = client.post("/models/classic/reload", headers=headers)
        assert (reloaded.status_code, reloaded.json()["state"]) == (200, "ready")
        assert service.registry.get("classic") is not made
        answer = client.post("/predict", files={"file": sample_png(7)}).json()
    assert (answer["digit"], answer["verdict"]) == (7, "digit")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, on its way to LiteRT
def test_network_that_cannot_be_compiled_fails_alone(tmp_path: Path) -> None:
    """Its requests get 503 with LiteRT's reason; other models are ready, and the next is compiled.

    A network that can be compiled takes its place in the folder, and others by a reload.
    """
    models = tmp_path / "models"
    add_bundle(models, "default")
    broken = add_bundle(models, "broken", compiled=False)
    add_bundle(models, "later", compiled=False)
    layers = [
        keras.Input((28, 28, 1)),
        keras.layers.Resizing(14, 14, interpolation="lanczos3"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, "softmax"),
    ]
    keras.Sequential(layers).save(tmp_path / KERAS_FILE)
    replace_file(broken, KERAS_FILE, (tmp_path / KERAS_FILE).read_bytes())
    registry = Registry(models, "default", interpreters=1)
    registry.load()
    registry.check_ready()
    with pytest.raises(NotReadyError, match="no operation for ScaleAndTranslate"):
        registry.wait_for("broken")
    assert registry.entries["broken"].state == "failed"
    assert registry.wait_for("later").bundle.metadata.name == "later"
    add_bundle(models, "broken", compiled=False)
    registry.refresh()
    registry.refresh()
    assert registry.wait_for("broken").bundle.metadata.name == "broken"
    add_bundle(models, "later", version=2, compiled=False)
    assert registry.reload("later").bundle.metadata.version == 2
    registry.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, on its way to LiteRT
def test_compiled_model_with_huge_activations_is_refused() -> None:
    """A small file that declares gigabytes is refused before LiteRT allocates them."""
    layers = [
        keras.Input((28, 28, 1)),
        keras.layers.ZeroPadding2D(10_000),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10, name="logits"),
        keras.layers.Softmax(),
    ]
    compiled = compile_model(keras.Sequential(layers))
    assert len(compiled) < 100_000
    with pytest.raises(BundleError, match=r"declares tensors of \d{10,} bytes"):
        LiteRtRuntime(compiled, interpreters=1)
