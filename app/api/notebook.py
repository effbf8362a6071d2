"""The results of the Python API as HTML for notebooks: pictures and tables, no scripts, no links.

Every text is escaped: names of classes and layers come from files. Knows results; knows nothing of
models.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from app.api.pictures import (
    MAP_SCALE,
    SHOWN_SIDE,
    digit_png,
    map_png,
    page_picture,
    sheet_png,
    unit_png,
    weights_png,
)
from app.render import to_png

if TYPE_CHECKING:
    from app.api.layers import Activations, Explanation, Layer, Unit
    from app.api.results import Page, Prediction, Preparation

MAX_LISTED_CLASSES = 10  # of a prediction; of more, the most probable ones
KERNEL_SIDE = 96  # pixels of the picture of kernels in a table of layers
STAGE_SIDE = 160  # pixels
BAR_WIDTH = 120  # pixels for a probability of 1
_ROW = 'style="display:flex;flex-wrap:wrap;gap:16px;align-items:center"'


def prediction_html(prediction: "Prediction") -> str:
    """Return the 28x28, the probabilities as bars, the verdict and the warnings."""
    probabilities = prediction.probabilities
    listed = np.sort(np.argsort(-probabilities, kind="stable")[:MAX_LISTED_CLASSES])
    rows = [
        [
            _text(prediction.classes[at]),
            f'<div style="width:{BAR_WIDTH * float(probabilities[at]):.0f}px;height:10px;'
            'background:#2166ac"></div>',
            f"{float(probabilities[at]):.1%}",
        ]
        for at in listed
    ]
    picture = _figure(digit_png(prediction.pixels), "What the network received")
    return _block(
        f"<div {_ROW}>{picture}{_table([], rows)}</div>",
        _paragraph(_answer(prediction)),
        _warnings(prediction.warnings),
    )


def page_html(page: "Page") -> str:
    """Return the image with boxes, the text, and the warnings."""
    picture = _figure(page_picture(page, "JPEG"), f"{len(page.digits)} marks", kind="jpeg")
    text = f"<pre>{_text(page.text)}</pre>"
    return _block(f"<div {_ROW}>{picture}{text}</div>", _warnings(page.warnings))


def preparation_html(preparation: "Preparation") -> str:
    """Return the picture of each stage, the answer, and what the answer is without stages."""
    stages = "".join(
        _figure(to_png(stage.image, max_side=STAGE_SIDE), stage.name, title=stage.description)
        for stage in preparation.stages
    )
    full = preparation.prediction
    received = _figure(preparation.png(), "What the network received")
    rows = [
        [_text(f"without {name}"), _text(_answer(other) if other else "no ink is found")]
        for name, other in preparation.without.items()
    ]
    return _block(
        f"<div {_ROW}>{stages}{received}</div>",
        _table([], [["", _text(_answer(full))], *rows]),
        _warnings(full.warnings),
    )


def layers_html(layers: Sequence["Layer"], title: str = "") -> str:
    """Return a table of layers, with the kernels of convolutions of the image itself."""
    rows = [
        [
            str(layer.index),
            _text(layer.name),
            _text(layer.type),
            " x ".join(map(str, layer.shape)),
            f"{layer.parameters:,}",
            " x ".join(map(str, layer.receptive_field)),
            _kernels(layer),
        ]
        for layer in layers
    ]
    head = ["", "layer", "type", "output", "weights", "sees", "kernels"]
    return _block(_paragraph(title) if title else "", _table(head, rows))


def _kernels(layer: "Layer") -> str:
    """Return a picture of a layer's kernels if they have one input channel, else nothing."""
    kernel = layer.weights.get("kernel")
    if kernel is None or kernel.ndim != 4 or kernel.shape[2] != 1:
        return ""
    return _image(weights_png(layer, max_side=KERNEL_SIDE), f"Kernels of {layer.name}")


def layer_html(layer: "Layer") -> str:
    """Return what a layer does, and a picture of its weights."""
    picture = ""
    if layer.weights:
        picture = _figure(weights_png(layer, max_side=SHOWN_SIDE), "Red is positive, blue negative")
    texts = _paragraph(layer.description) + _paragraph(layer.formula)
    return layers_html([layer]) + _block(texts, picture)


def activations_html(activations: "Activations") -> str:
    """Return the sheet of a layer's output and the values of black and white."""
    values = activations.values
    shape = " x ".join(map(str, values.shape))
    caption = (
        f"{activations.layer.name}: {shape}; black is {float(values.min()):.4g}, white"
        f" {float(values.max()):.4g}"
    )
    return _block(_figure(sheet_png(values), caption))


def unit_html(unit: "Unit") -> str:
    """Return what a unit sees, and its equation."""
    address = repr(unit).removeprefix("Unit").strip("()")
    values = f"The network's value is {unit.observed:.7g}, the equation's {unit.reconstructed:.7g}."
    return _block(
        _figure(unit_png(unit), "What it sees"),
        _paragraph(address),
        _paragraph(unit.formula),
        _paragraph(unit.equation.text),
        _paragraph(values),
    )


def explanation_html(explanation: "Explanation") -> str:
    """Return the 28x28 beside the map, and what the map shows."""
    limit = float(np.abs(explanation.map).max())
    pictures = _figure(
        digit_png(explanation.prediction.pixels), "What the network received", 28 * MAP_SCALE
    ) + _figure(
        map_png(explanation.map), f"Red raises the score, up to {limit:.3g}; blue lowers it"
    )
    return _block(
        f"<div {_ROW}>{pictures}</div>",
        _paragraph(f"Score: {explanation.value:.4g}"),
        _paragraph(explanation.text),
    )


def _answer(prediction: "Prediction") -> str:
    return f"{prediction.label} ({prediction.confidence:.1%}), {prediction.verdict}"


def _warnings(warnings: Iterable[str]) -> str:
    return "".join(_paragraph(f"Warning: {warning}") for warning in warnings)


def _block(*parts: str) -> str:
    return f"<div>{''.join(parts)}</div>"


def _paragraph(text: str) -> str:
    return f'<p style="overflow-wrap:anywhere">{_text(text)}</p>'


def _text(text: str) -> str:
    return escape(text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells of the rows are HTML."""
    cells = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    lines = ["".join(f'<td style="text-align:left">{cell}</td>' for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f"<table>{f'<thead><tr>{cells}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
    )


def _figure(
    picture: bytes,
    caption: str,
    width: int | None = None,
    *,
    title: str = "",
    kind: str = "png",
) -> str:
    image = _image(picture, caption, width, title, kind)
    return (
        '<figure style="margin:4px;display:inline-block;text-align:center">'
        f"{image}<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _image(
    picture: bytes, alt: str, width: int | None = None, title: str = "", kind: str = "png"
) -> str:
    data = base64.b64encode(picture).decode()
    size = f' width="{width}"' if width else ""
    hint = f' title="{escape(title)}"' if title else ""
    return (
        f'<img alt="{escape(alt)}"{hint}{size} src="data:image/{kind};base64,{data}"'
        ' style="image-rendering:pixelated">'
    )
