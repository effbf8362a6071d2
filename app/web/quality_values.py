"""Parses headers that list choices with weights, such as Accept and Accept-Encoding (RFC 9110)."""

from functools import lru_cache

CACHE_SIZE = 256  # header values; clients repeat a few
# Content codings, the preferred one first, with the window size that selects each in zlib.
WINDOW_BITS = {"gzip": 31, "deflate": 15}
_ALIASES = {"x-gzip": "gzip"}


def parse_weighted(value: str) -> list[tuple[str, float]]:
    """Return the choices of a header in lower case, each with its weight from 0 to 1.

    Parameters other than `q` are ignored. A weight that is no number counts as 1.
    """
    choices: list[tuple[str, float]] = []
    for entry in value.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        if name:
            choices.append((name, _weight(parameters)))
    return choices


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 1.0
            return min(max(weight, 0.0), 1.0) if weight == weight else 1.0
    return 1.0


@lru_cache(maxsize=CACHE_SIZE)
def choose_coding(accept_encoding: str) -> str | None:
    """Return the content coding that a client prefers for a response; None for no coding.

    Args:
        accept_encoding: Value of the header Accept-Encoding; "" if there is none.
    """
    weights = {_ALIASES.get(name, name): weight for name, weight in parse_weighted(accept_encoding)}
    others = weights.get("*", 0.0)
    # The first of equal ones.
    best = max(WINDOW_BITS, key=lambda coding: weights.get(coding, others))
    weight = weights.get(best, others)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None
