"""Recurrent layers, which read their input row by row: activations and weights only.

LSTM: Hochreiter and Schmidhuber, 1997. GRU: Cho et al., 2014, arXiv:1406.1078.
"""

from app.network.operation import (
    ACTIVATIONS_ONLY,
    Config,
    LayerKind,
    SavedLayer,
    Unsupported,
    matrices_by_row,
)

_REASON = "a recurrent layer keeps a state from row to row"


def _recurrent(saved: SavedLayer) -> Unsupported:
    sentence = _sentence(saved, saved.config.get("units"))
    return Unsupported(_REASON, sentence, matrices_by_row(saved))


def _bidirectional(saved: SavedLayer) -> Unsupported:
    sentence = _sentence(saved, saved.config["layer"]["config"].get("units"))
    sentence += " A second one reads from the end."
    return Unsupported(_REASON, sentence, matrices_by_row(saved))


def _sentence(saved: SavedLayer, units: int | None) -> str:
    rows = saved.shapes.input[0]
    numbers = f"{units} numbers" if units else "numbers"
    returns = "returns the last state"
    if len(saved.shapes.output) == len(saved.shapes.input):
        returns = "returns the state after each"
    return f"Reads its {rows} rows one after the other, keeps {numbers} as a state and {returns}."


def _cell_weights(config: Config) -> tuple[str, ...]:
    names = ("cell/kernel", "cell/recurrent_kernel")
    return (*names, "cell/bias") if config.get("use_bias", True) else names


def _bidirectional_weights(config: Config) -> tuple[str, ...]:
    return tuple(
        f"{direction}/{name}"
        for direction in ("backward_layer", "forward_layer")
        for name in _cell_weights(config["layer"]["config"])
    )


KINDS = {
    "LSTM": LayerKind(_recurrent, _cell_weights, ACTIVATIONS_ONLY),
    "GRU": LayerKind(_recurrent, _cell_weights, ACTIVATIONS_ONLY),
    "SimpleRNN": LayerKind(_recurrent, _cell_weights, ACTIVATIONS_ONLY),
    "Bidirectional": LayerKind(_bidirectional, _bidirectional_weights, ACTIVATIONS_ONLY),
}
