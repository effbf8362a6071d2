"""Ten digits of MNIST's training split, one of each: the examples of the docs and of the page."""

from importlib.resources import files


def sample_png(digit: int) -> bytes:
    """Return a 28x28 grey PNG of a handwritten `digit`, 0..9."""
    return (files(__name__) / f"{digit}.png").read_bytes()
