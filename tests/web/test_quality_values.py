"""Headers with weights, as RFC 9110 defines them."""

import pytest

from app.web.quality_values import choose_coding, parse_weighted


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0.2, deflate;q=0.8", "deflate"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("*;q=0, gzip", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=1", "gzip"),
        ("br", None),
        ("gzip;q=nan", "gzip"),
        ("gzip;q=", "gzip"),
        ("gzip;q=-1", None),
        (",;,;q=1", None),
    ],
)
def test_coding_is_the_one_with_the_largest_weight(header: str, coding: str | None) -> None:
    """A weight of 0 excludes a coding; of equal weights gzip comes first."""
    assert choose_coding(header) == coding


def test_weights_of_media_types() -> None:
    """The weight may follow other parameters."""
    parsed = parse_weighted("text/HTML;level=1;q=0.4, */*; q=0.1, image/png")
    assert parsed == [("text/html", 0.4), ("*/*", 0.1), ("image/png", 1.0)]
