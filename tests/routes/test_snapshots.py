"""The routes for a model's training: its figures, and one image in every saved epoch."""

import numpy as np
from fastapi.testclient import TestClient

from app.inference.model import Model
from app.samples import sample_png
from training.snapshots import load

FILE = {"file": sample_png(7)}


def test_training_is_described(client: TestClient) -> None:
    """The response has the figures of every epoch and lists the saved epochs."""
    answer = client.get("/models/classic/training").json()
    assert [one["epoch"] for one in answer["epochs"]] == list(range(1, len(answer["epochs"]) + 1))
    assert set(answer["saved"]) <= {one["epoch"] for one in answer["epochs"]}
    assert answer["published_epoch"] in answer["saved"]
    assert answer["refitted"]
    assert client.get("/models/nosuch/training").status_code == 404


def test_every_saved_epoch_predicts_the_image(client: TestClient) -> None:
    """Each saved epoch has a prediction, a sheet of the layer and the first layer's kernels."""
    saved = client.get("/models/classic/training").json()["saved"]
    answer = client.post("/snapshots?layer=relu_1_1", files=FILE).json()
    assert [one["epoch"] for one in answer["moments"]] == saved
    assert (answer["layer"]["name"], answer["convolution"]) == ("relu_1_1", "conv_1_1")
    for moment in answer["moments"]:
        assert moment["digit"] == int(np.argmax(moment["probabilities"]))
        assert np.shape(moment["kernel"]) == (3, 3, 1, 32)
        assert len(moment["min"]) == len(moment["max"]) == moment["sheet"]["tiles"] == 32
    assert answer["prediction"] == client.post("/predict", files=FILE).json()


def test_large_kernels_are_sent_for_one_channel(client: TestClient, classic: Model) -> None:
    """A kernel of several input channels is sent for one output channel, rounded to int8."""
    answer = client.post("/snapshots?layer=pool_1&channel=4", files=FILE).json()
    kernels = {one["epoch"]: np.array(one["kernel"]) for one in answer["moments"]}
    assert len(kernels) > 1
    for epoch, kernel in kernels.items():
        stored = load(classic.bundle.folder / "snapshots" / f"epoch-{epoch:03}.npz")
        np.testing.assert_allclose(kernel, stored["conv_1_2/kernel"][..., 4:5], rtol=1e-4)
    without = client.post("/snapshots?layer=pool_1", files=FILE).json()
    assert without["moments"][0]["kernel"] is None


def test_unknown_layer_and_channel_are_404(client: TestClient) -> None:
    """An unknown layer or channel is a 404 that lists the valid ones."""
    assert client.post("/snapshots?layer=conv_9", files=FILE).status_code == 404
    answer = client.post("/snapshots?layer=relu_1_1&channel=32", files=FILE)
    assert (answer.status_code, answer.json()["valid"]) == (404, ["channel 0..31"])
