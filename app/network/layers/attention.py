"""Attention, in which every row weighs every other row: activations and weights only.

Vaswani et al., 2017, arXiv:1706.03762.
"""

from app.network.operation import (
    ACTIVATIONS_ONLY,
    Config,
    LayerKind,
    SavedLayer,
    Unsupported,
    matrices_by_row,
    no_weights,
)

_REASON = "in attention, the weights of each sum depend on the image"


def _attention(saved: SavedLayer) -> Unsupported:
    rows = saved.shapes.output[0]
    return Unsupported(_REASON, f"Gives each of {rows} rows a weighted mean of all rows.")


def _multi_head(saved: SavedLayer) -> Unsupported:
    rows, heads = saved.shapes.output[0], saved.config["num_heads"]
    return Unsupported(
        _REASON,
        f"Gives each of {rows} rows weighted means of all rows, with {heads} sets of weights, and"
        " mixes them.",
        matrices_by_row(saved),
    )


def _multi_head_weights(config: Config) -> tuple[str, ...]:
    names = ("kernel", "bias") if config.get("use_bias", True) else ("kernel",)
    parts = ("key_dense", "output_dense", "query_dense", "value_dense")
    return tuple(f"{part}/{name}" for part in parts for name in names)


KINDS = {
    "MultiHeadAttention": LayerKind(_multi_head, _multi_head_weights, ACTIVATIONS_ONLY),
    "Attention": LayerKind(_attention, no_weights, ACTIVATIONS_ONLY),
}
