"""How digits and signs are written: the strokes of each shape, as control points.

A control point is `x,y`, to the right and down in percent of the digit's height, and `~` with how
far it may vary in both directions (5 if left out), or along x and y.
"""

from dataclasses import dataclass

NO_DIGIT = -1  # the `digit` of a sign
SPREAD = 5.0  # percent that a control point varies by if its shape says nothing else

# A control point: x to the right and y down, and how far each may vary, all in heights.
Control = tuple[float, float, float, float]
Stroke = tuple[Control, ...]


@dataclass(frozen=True)
class Shape:
    """A way to write a digit.

    Attributes:
        digit: The digit, 0..9, or `NO_DIGIT`.
        name: How it is written.
        share: How often it is drawn, relative to others of the digit.
        round: Range of the roundness: 0 draws straight lines between the points, 1 a curve through
            them.
        strokes: The control points of each stroke.
    """

    digit: int
    name: str
    share: float
    round: tuple[float, float]
    strokes: tuple[Stroke, ...]


def _shape(
    digit: int, name: str, share: float, round_: tuple[float, float], *strokes: str
) -> Shape:
    parsed = tuple(tuple(_control(point) for point in stroke.split()) for stroke in strokes)
    return Shape(digit, name, share, round_, parsed)


def _control(text: str) -> Control:
    place, _, spread = text.partition("~")
    x, y = (float(value) / 100 for value in place.split(","))
    spreads = [float(value) / 100 for value in spread.split(",")] if spread else [SPREAD / 100]
    return x, y, spreads[0], spreads[-1]


SHAPES: tuple[Shape, ...] = (
    _shape(0, "plain", 1, (0.8, 1), "55,2 22,15 10,50 22,86 50,98 80,85 90,50 78,14 52,2~8 40,6~8"),
    _shape(
        0,
        "slashed",
        1.6,
        (0.8, 1),
        "55,2 22,15 10,50 22,86 50,98 80,85 90,50 78,14 52,2~8 40,6~8",
        "78,12~16,12 22,88~16,12",
    ),
    _shape(
        0,
        "slashed from the right",
        0.3,
        (0.8, 1),
        "55,2 22,15 10,50 22,86 50,98 80,85 90,50 78,14 52,2~8 40,6~8",
        "24,16~10 76,84~10",
    ),
    _shape(1, "long flag", 2, (0, 0.25), "32,44~13,15 62,0~3 63,100~6"),
    _shape(
        1,
        "flag and foot",
        1.3,
        (0, 0.25),
        "28,30~15,12 55,0~3 56,100~4",
        "24,99~14,3 88,99~14,3",
    ),
    _shape(1, "foot", 0.3, (0, 0.2), "50,0~4 50,100~4", "28,99~10,3 72,99~10,3"),
    _shape(1, "flag that bends", 0.7, (0.2, 0.9), "20,48~14 42,30~8 62,0~3 60,50~4 58,100~8"),
    _shape(1, "stick", 0.4, (0, 0.2), "55,0~10 48,100~10"),
    _shape(
        2,
        "loop",
        1.5,
        (0.8, 1),
        "16,24~7,8 40,2 76,12 74,40 46,72 20,95 13,84~4 28,79~6 55,92~8,5 92,95~7",
    ),
    _shape(2, "plain", 1, (0.5, 1), "14,24~6,10 40,2 78,14 72,42 40,74 10,98 11,98 92,97~10,5"),
    _shape(3, "round", 1, (0.8, 1), "16,14~6,8 50,1 80,20 42,46~8 43,47~8 86,68 56,98 14,85~7"),
    _shape(3, "flat top", 0.8, (0.1, 0.8), "14,3 82,2~6 46,38~7 86,60 76,90 44,99 12,86~7"),
    _shape(4, "open", 1.2, (0, 0.35), "30,2~14,10 10,60~6,10 95,62~10", "72,30~10,22 66,100~12,5"),
    _shape(
        4,
        "open with a wide angle",
        1.2,
        (0, 0.25),
        "72,0~14,5 5,62~5,10 97,66~6",
        "68,52~12 66,95~10,16",
    ),
    _shape(4, "triangular", 1.2, (0, 0.2), "62,100~8,5 66,2~6 6,64~6,10 95,66~10"),
    _shape(
        4,
        "triangular, slanted, in one stroke",
        1,
        (0, 0.3),
        "22,100~14,5 72,6~9 4,38~5,12 95,68~8,10",
    ),
    _shape(
        4,
        "triangular, in two strokes",
        0.8,
        (0, 0.25),
        "66,2~8 6,62~6,10 96,64~8",
        "68,5~6,12 64,100~8",
    ),
    _shape(
        5,
        "one curve",
        1.2,
        (0.8, 1),
        "84,6~9,5 45,8~7 24,24 40,42 78,58~6 74,88 42,98 12,82~7,10",
    ),
    _shape(
        5,
        "separate bar",
        1.2,
        (0.5, 1),
        "26,6~6 22,42 55,40~8 84,66 60,96 12,84~10,16",
        "26,6~6 86,3~12,6",
    ),
    _shape(
        6,
        "straight stem",
        1.4,
        (0.5, 1),
        "60,0~16,3 28,45~6 12,74 30,97 66,95 82,74 60,56 30,60 14,74~6",
    ),
    _shape(6, "curled", 1, (0.8, 1), "62,2~12,5 30,30 14,65 25,93 52,98 78,80 66,58 40,56 20,72"),
    _shape(7, "crossed", 1.6, (0, 0.35), "8,6~6 86,2~6 38,100~12,3", "28,52~10 88,48~10"),
    _shape(7, "crossed, steep bar", 0.6, (0, 0.3), "15,5~8 88,5~6 20,100~10,3", "24,42~8 78,66~10"),
    _shape(7, "serif", 0.8, (0, 0.4), "10,20~5,8 10,4 86,3~6 40,100~12,3"),
    _shape(
        7,
        "serif, crossed",
        0.6,
        (0, 0.4),
        "10,20~5,8 10,4 86,3~6 40,100~12,3",
        "30,54~10,8 84,50~10,8",
    ),
    _shape(7, "curved stem", 0.8, (0.2, 0.9), "8,8~6 86,3~6 56,42~6 42,100~8,3"),
    _shape(
        8,
        "open at the top",
        1.4,
        (0.8, 1),
        "84,6~9,7 50,4~8 20,20 46,46 80,72 50,98 18,78 50,50 80,24~7,8",
    ),
    _shape(
        8,
        "open at the side",
        1,
        (0.8, 1),
        "30,10~8 62,2~7 80,16 50,50 20,78 42,98 78,84 52,55 24,30~7",
    ),
    _shape(
        8,
        "two rings",
        0.8,
        (0.8, 1),
        "50,2 24,14 30,40 52,48 74,36 74,12 48,2",
        "50,48 18,64 22,90 52,99 84,88 80,62 48,48",
    ),
    _shape(
        9,
        "straight leg",
        1.4,
        (0.8, 1),
        "75,12 48,2 20,14 16,36 40,50 68,40 78,12",
        "80,6~5,10 72,100~14,4",
    ),
    _shape(
        9,
        "curled leg",
        1.4,
        (0.8, 1),
        "75,12 48,2 20,14 16,36 40,50 68,40 78,12 80,50 76,84 50,98 18,88~9,10",
    ),
    _shape(NO_DIGIT, "plus", 1, (0, 0.2), "50,0~8 50,100~8", "0,50~8 100,50~8"),
    _shape(NO_DIGIT, "times", 1, (0, 0.4), "5,0~8 95,100~8", "95,0~8 5,100~8"),
    _shape(NO_DIGIT, "dash", 1, (0.8, 1), "0,50~3,12 100,50~3,12"),
    _shape(NO_DIGIT, "slash", 1, (0.8, 1), "200,0~30,10 0,100~3,10"),
    _shape(NO_DIGIT, "equals", 1, (0.8, 1), "0,30~6 100,30~6", "0,70~6 100,70~6"),
    _shape(
        NO_DIGIT,
        "divided by",
        1,
        (0.8, 1),
        "0,50 100,50",
        "50,12~4 52,14~4",
        "50,86~4 52,88~4",
    ),
    _shape(
        NO_DIGIT,
        "percent",
        1,
        (0.8, 1),
        "90,0~6 10,100~6",
        "20,6 4,20 20,36 36,20 20,6",
        "80,64 64,80 80,94 96,80 80,64",
    ),
    _shape(NO_DIGIT, "heart", 1, (0.4, 1), "50,26 28,4 3,24 16,58 50,98 86,56 97,22 72,4 50,28"),
    _shape(NO_DIGIT, "tick", 1, (0, 0.6), "0,55~8 35,98~6 120,0~20,8"),
    _shape(
        NO_DIGIT,
        "zigzag",
        1,
        (0, 1),
        "0,50~6,20 33,20~6,20 66,80~6,20 100,50~6,20 130,20~6,20",
    ),
)
