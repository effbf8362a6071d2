"""Follow one digit through the classic network: the numbers and pictures of docs/inspection.md.

    python -m benchmarks.walk

All values come from the routes of the service.
"""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from app.inspection.attribution import METHODS
from app.main import create_app
from app.samples import sample_png
from app.settings import REPOSITORY, Settings
from benchmarks.page import fill, paragraph, table

PAGE = REPOSITORY / "docs" / "inspection.md"
IMAGES = PAGE.parent / "images"
DIGIT, OTHER = 4, 9
SHEETS = ("relu_1_1", "relu_1_2", "relu_2_1", "relu_2_2")
CLOSING = (8, slice(11, 16))  # row and columns of the pixels that close the 4


class Service:
    """A client of the service."""

    def __init__(self, client: TestClient) -> None:
        """Send requests through `client`."""
        self._client = client

    def get(self, route: str) -> Any:
        """Return the JSON of a GET request."""
        return self._client.get(route).raise_for_status().json()

    def weights(self, layer: str) -> Mapping[str, NDArray[np.float32]]:
        """Return a layer's weights."""
        answer = self._client.get(f"/models/classic/layers/{layer}/weights").raise_for_status()
        return np.load(io.BytesIO(answer.content))

    def post(self, route: str, *images: bytes, **query: Any) -> Any:
        """Return the JSON that a POST of one image, or of two, gives."""
        name = "file" if len(images) == 1 else "files"
        files = [(name, image) for image in images]
        return self._client.post(route, params=query, files=files).raise_for_status().json()


def write(page: Path, images: Path) -> None:
    """Fill the page and draw its pictures."""
    images.mkdir(exist_ok=True)
    with TestClient(create_app(Settings(default_model="classic"))) as client:
        service, digit = Service(client), sample_png(DIGIT)
        fill(page, "answer", _answer(service, digit, images))
        fill(page, "layers", _layers(service))
        fill(page, "kernels", _kernels(service, images))
        fill(page, "sheets", _sheets(service, digit, images))
        fill(page, "path", _path(service, digit))
        fill(page, "field", _field(service, digit, images))
        maps = {
            method: service.post("/explain", digit, method=method, target=DIGIT, contrast=OTHER)
            for method in METHODS
        }
        fill(page, "why", _why(maps, digit, images))
        fill(page, "checks", _checks(maps))
        fill(page, "ablation", _ablation(service, digit))
        fill(page, "learn", _learn(service, digit))
        fill(page, "backwards", _backwards(service, digit))
        fill(page, "neighbours", _neighbours(service, digit, images))
        fill(page, "comparison", _comparison(service, digit))


def _pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _picture(figure: Figure, images: Path, name: str, text: str) -> str:
    figure.savefig(images / f"{name}.png", dpi=100)
    return f"![{text}](images/{name}.png)\n"


def _bare(place: Axes, title: str = "") -> None:
    place.set_xticks([])
    place.set_yticks([])
    place.set_title(title, fontsize=9)


def _answer(service: Service, digit: bytes, images: Path) -> str:
    said = service.post("/predict", digit)
    figure = Figure(figsize=(4.4, 2), layout="constrained")
    image, bars = figure.subplots(1, 2, width_ratios=[1, 1.3])
    image.imshow(_pixels(digit), cmap="gray")
    _bare(image)
    bars.barh(range(10), said["probabilities"], color="tab:blue")
    bars.set(yticks=range(10), xlim=(0, 1), xticks=[0, 1], ylim=(9.6, -0.6))
    bars.tick_params(labelsize=8)
    bars.spines[["top", "right"]].set_visible(False)
    shown = _picture(figure, images, "walk-answer", "A handwritten 4 and its ten probabilities")
    return (
        f"{shown}\nIt reads a **{said['digit']}** with {said['confidence']:.4%}; the runner-up is"
        f" {said['runner_up']}.\n"
    )


def _layers(service: Service) -> str:
    rows = [["", "layer", "class", "output", "parameters", "multiply-adds", "sees"]]
    for layer in service.get("/models/classic/layers")["layers"]:
        size = layer["receptive_field"]["size"]
        rows.append(
            [
                str(layer["index"]),
                f"`{layer['name']}`",
                layer["type"] if layer["active_at_inference"] else f"{layer['type']} (inactive)",
                "x".join(map(str, layer["output_shape"])),
                f"{layer['parameters']:,}",
                f"{layer['multiply_adds']:,}",
                f"{size[0]}x{size[1]}",
            ]
        )
    return table(rows)


def _kernels(service: Service, images: Path) -> str:
    kernel = service.weights("conv_1_1")["kernel"][:, :, 0]
    limit = float(np.abs(kernel).max())
    figure = Figure(figsize=(8, 2.1), layout="constrained")
    for channel, place in enumerate(figure.subplots(2, 16).flat):
        shown = place.imshow(kernel[..., channel], cmap="RdBu_r", vmin=-limit, vmax=limit)
        _bare(place, str(channel))
    figure.colorbar(shown, ax=figure.axes, shrink=0.8)
    return _picture(figure, images, "walk-kernels", "The 32 kernels of conv_1_1")


def _sheets(service: Service, digit: bytes, images: Path) -> str:
    found = service.post("/inspect", digit, include="sheets")
    layers = {layer["name"]: layer for layer in found["layers"]}
    figure = Figure(figsize=(9, 9), layout="constrained")
    rows = [["layer", "smallest", "largest", "mean", "zeros", "dead channels"]]
    for name, place in zip(SHEETS, figure.subplots(2, 2).flat, strict=True):
        layer = layers[name]
        sheet, overall = layer["sheet"], layer["statistics"]
        values = _pixels(base64.b64decode(sheet["png"])) / 255
        low, high = sheet["vmin"], sheet["vmax"]
        values = low + values * (high - low)
        (height, width), gap = sheet["tile"], sheet["gap"]
        values[height :: height + gap] = values[:, width :: width + gap] = np.nan
        shown = place.imshow(values, cmap="viridis", vmin=low, vmax=high)
        _bare(place, f"{name}: {sheet['tiles']} channels of {'x'.join(map(str, sheet['tile']))}")
        figure.colorbar(shown, ax=place, shrink=0.7)
        rows.append(
            [
                f"`{name}`",
                *(f"{overall[key]:.3f}" for key in ("min", "max", "mean")),
                f"{100 * overall['zeros']:.0f} %",
                ", ".join(map(str, layer["dead"])) or "none",
            ]
        )
    text = "All channels of the four ReLU layers"
    return _picture(figure, images, "walk-sheets", text) + "\n" + table(rows)


def _path(service: Service, digit: bytes) -> str:
    rows = [["layer", "unit", "equation", "the network gave", "apart by"]]
    layers = service.get("/models/classic/layers")["layers"]
    inputs = {layer["name"]: layer["inputs"][0] for layer in layers}
    unit: dict[str, int] = {"channel": DIGIT}
    name = layers[-1]["name"]
    while name != "image":
        found = service.post(f"/layers/{name}/unit", digit, **unit)
        place = [found["unit"][key] for key in ("y", "x", "channel")]
        rows.append(
            [
                f"`{name}`",
                ", ".join(str(at) for at in place if at is not None),
                f"`{_short(found['equation'])}`",
                f"{found['observed']:.6g}",
                f"{found['abs_error']:.0e}",
            ]
        )
        unit, name = _largest(found), inputs[name]
    end = f"row {unit['y']}, column {unit['x']}"
    return table(rows) + f"\nSo the path ends at the pixel in {end} of the image.\n"


def _short(equation: str, terms: int = 3) -> str:
    """Keep the first terms of a long sum; the service names up to twelve."""
    parts = equation.split(" + ")
    if len(parts) <= terms + 3:
        return equation
    bias = [parts[-1]] if parts[-1].endswith("(bias)") else []
    return " + ".join([*parts[:terms], "...", *bias])


def _largest(found: Mapping[str, Any]) -> dict[str, int]:
    """Return the unit of the input that has the most to say about a traced unit."""
    operands, unit = found["operands"], {k: v for k, v in found["unit"].items() if v is not None}
    if "source" in operands:  # reshaped
        return dict(zip(("y", "x", "channel"), operands["source"], strict=True))
    if "largest" in operands:  # dense
        return {"channel": max(operands["largest"], key=lambda term: term["product"])["input"]}
    if "patch" in operands:  # a convolution
        products = np.array(operands["products"])
        channel = int(products.sum(axis=(0, 1)).argmax())
        row, column = divmod(int(products[..., channel].argmax()), products.shape[1])
        top, left = operands["corner"]
        first = operands["input_channels"][0]
        return {"y": top + row, "x": left + column, "channel": first + channel}
    place = operands.get("winner") or operands.get("place")  # pooling, padding
    return unit | dict(zip(("y", "x"), place, strict=True)) if place else unit


def _field(service: Service, digit: bytes, images: Path) -> str:
    canvas = np.full((260, 300), 255, np.uint8)
    drawn = Image.fromarray(_pixels(digit)).resize((196, 196), Image.Resampling.BICUBIC)
    canvas[20:216, 90:286] -= np.asarray(drawn)
    found = service.post("/layers/pool_2/unit", _png(canvas))
    stages = service.post("/preprocess", _png(canvas))["stages"]
    received = _pixels(base64.b64decode(stages[-1]["image"]))
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    upload, image = figure.subplots(1, 2, width_ratios=[300 / 260, 1])
    upload.imshow(canvas, cmap="gray", vmin=0, vmax=255)
    region, box = found["trace"]["upload"], found["trace"]["image"]
    _frame(upload, region["x"], region["y"], region["width"], region["height"])
    _bare(upload, "the upload")
    image.imshow(received, cmap="gray", extent=(0, 28, 28, 0))
    _frame(image, box["x"], box["y"], box["width"], box["height"])
    _bare(image, "what the network received")
    unit = found["unit"]
    shown = _picture(
        figure, images, "walk-field", "A unit's receptive field on the upload and on the 28x28"
    )
    said = (
        f"The strongest unit of `pool_2` (row {unit['y']}, column {unit['x']}, channel"
        f" {unit['channel']}, value {found['observed']:.3f}) sees rows {box['y']} to"
        f" {box['y'] + box['height'] - 1} and columns {box['x']} to"
        f" {box['x'] + box['width'] - 1} of the 28x28, which is"
        f" {region['width']:.0f}x{region['height']:.0f} pixels of the upload from"
        f" ({region['x']:.0f}, {region['y']:.0f})."
    )
    return f"{shown}\n{paragraph(said)}"


def _frame(place: Axes, x: float, y: float, width: float, height: float) -> None:
    place.add_patch(Rectangle((x, y), width, height, fill=False, color="tab:orange", linewidth=2))


def _why(maps: Mapping[str, Any], digit: bytes, images: Path) -> str:
    figure = Figure(figsize=(9, 1.9), layout="constrained")
    places = figure.subplots(1, len(maps) + 1)
    places[0].imshow(_pixels(digit), cmap="gray")
    _bare(places[0], "image")
    for place, (method, found) in zip(places[1:], maps.items(), strict=True):
        place.imshow(found["map"], cmap="RdBu_r", vmin=-found["limit"], vmax=found["limit"])
        _bare(place, method)
    return _picture(figure, images, "walk-why", "Five maps of why this is a 4 and not a 9")


def _checks(maps: Mapping[str, Any]) -> str:
    rows = [
        [
            "method",
            "left, map's order",
            "left, random order",
            "like its shuffled self, all pixels",
            "on the ink",
        ]
    ]
    for method, found in maps.items():
        deletion, shuffled = found["checks"]["deletion"], found["checks"]["randomised"]
        rows.append(
            [
                method,
                f"{deletion['area_by_map']:.2f}",
                f"{deletion['area_at_random']:.2f}",
                f"{shuffled['similarity']:.2f}",
                f"{shuffled['similarity_on_ink']:.2f}",
            ]
        )
    complete = maps["integrated-gradients"]["completeness"]
    said = (
        "*Left* is the mean of the difference of logits over the whole deletion; lower is"
        " better. *Like* is Spearman's rank correlation of the sizes. The difference itself is"
        f" {maps['gradient']['value']:.2f}. Integrated gradients add up to"
        f" {complete['map_sum']:.2f} where {complete['difference']:.2f} is due, an error of"
        f" {complete['relative_error']:.1%}."
    )
    return f"{table(rows)}\n{paragraph(said)}"


def _ablation(service: Service, digit: bytes) -> str:
    found = service.post("/ablate", digit, layer="relu_1_2")
    rows = [["channel off", "logit of 4", "change", "probability of 4", "reads"]]
    rows += [
        [
            str(one["channels"][0]),
            f"{one['logits'][DIGIT]:.2f}",
            f"{one['logit_change']:+.2f}",
            f"{one['probabilities'][DIGIT]:.4f}",
            str(one["digit"]),
        ]
        for one in found["ablations"][:5]
    ]
    return f"With all channels the logit is {found['baseline_logit']:.2f}.\n\n" + table(rows)


def _learn(service: Service, digit: bytes) -> str:
    found = service.post("/learn/step", digit, label=OTHER, learning_rate=0.0002, steps=4)
    traced = service.post(
        "/layers/conv_1_2/gradient-unit", digit, label=OTHER, weight="kernel", index="2,0,23,5"
    )
    said = [
        found["text"],
        str(found["most_changed"][:3]),
        traced["equation"],
        f"measured: {traced['finite_difference']['gradient']:.6g}",
    ]
    rows = [["after step", "loss", "probability of 9", "probability of 4"]]
    for step, (loss, probabilities) in enumerate(
        zip(found["loss"], found["probabilities"], strict=True)
    ):
        shares = (f"{probabilities[digit]:.4%}" for digit in (OTHER, DIGIT))
        rows.append([str(step), f"{loss:.3f}", *shares])
    printed = "".join(f"{line}\n" for line in said)
    return f"They print:\n\n```\n{printed}```\n\n{table(rows)}"


def _backwards(service: Service, digit: bytes) -> str:
    """Follow a gradient from a weight to the softmax, each time through the largest product."""
    rows = [["layer", "weight or unit", "gradient", "from the measured one"]]
    name, address = "conv_1_2", {"weight": "kernel", "index": "2,0,23,5"}
    while True:
        found = service.post(
            f"/layers/{name}/gradient-unit", digit, label=OTHER, terms=2, **address
        )
        error = found["finite_difference"]["relative_error"]
        rows.append(
            [
                f"`{name}`",
                ", ".join(address.values()).replace(",", ", ").replace("  ", " "),
                f"`{found['equation']}`",
                f"{error:.0e}" if error > 1e-8 else "less than 1e-8",
            ]
        )
        (*_, factor) = found["terms"][0]["factors"]
        if factor["kind"] != "gradient":
            return table(rows)
        unit = factor["unit"]
        name = factor["layer"]["name"]
        address = {key: str(unit[key]) for key in ("y", "x", "channel") if unit[key] is not None}


def _neighbours(service: Service, digit: bytes, images: Path) -> str:
    found = service.post("/neighbours", digit)
    figure = Figure(figsize=(8, 1.4), layout="constrained")
    for place, one in zip(figure.subplots(1, 8), found["neighbours"], strict=True):
        place.imshow(_pixels(base64.b64decode(one["image"])), cmap="gray")
        _bare(place, f"{one['label']}, at {one['distance']:.2f}")
    shown = _picture(figure, images, "walk-neighbours", "The eight nearest training digits")
    return f"{shown}\n{found['text']}\n"


def _comparison(service: Service, digit: bytes) -> str:
    pixels = _pixels(digit).copy()
    pixels[CLOSING] = 255
    found = service.post("/compare", digit, _png(pixels))
    lines = [["layer", "cosine", "channels that differ most"]]
    for one in found["layers"]:
        if one["layer"]["type"] in ("Conv2D", "Dense", "Normalization", "Softmax"):
            channels = ", ".join(map(str, one["channels"]))
            lines.append([f"`{one['layer']['name']}`", f"{one['cosine']:.3f}", channels])
    return table(lines) + f"\n{found['text']}\n"


if __name__ == "__main__":
    write(PAGE, IMAGES)
