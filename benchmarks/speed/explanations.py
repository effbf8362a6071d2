"""Cases of explanations, each for one digit over one connection."""

from pathlib import Path

from app.bundle import KERAS_FILE
from app.settings import REPOSITORY
from benchmarks.load import DIGIT
from benchmarks.services import RAW, digitscope
from benchmarks.speed.contest import Case, Goal, Line
from benchmarks.speed.subjects import CPU, LATE, WALL, asked, repeated

TAPE, SMOOTH = "tf.GradientTape", "SmoothGrad in TensorFlow"


def explanation_cases(folder: Path) -> dict[str, Case]:
    """Return the cases; the references read the digit's file in a folder."""
    digit, models = folder / "digit.png", REPOSITORY / "model"
    compact, ensemble = (models / name / KERAS_FILE for name in ("compact", "ensemble"))
    return {
        **{
            key: Case(
                (
                    Line(f"{title} on `compact`, CPU", CPU, "ms", Goal(1.0, TAPE)),
                    Line(f"{title} on `compact`, time", WALL, "ms"),
                ),
                lambda checkout, method=method: asked(
                    digitscope(checkout),
                    f"/explain?model=compact&method={method}&checks=false",
                    RAW,
                    f'"digit":{DIGIT}',
                    count=60,
                ),
                [repeated(TAPE, "gradients.py", name, compact, digit, count=30)],
            )
            for key, title, method, name in (
                ("integrated", "integrated gradients", "integrated-gradients", "integrated"),
                ("smoothgrad", "SmoothGrad", "smoothgrad", "smooth"),
            )
        },
        "explain-ensemble": Case(
            (
                Line("default `/explain` on `ensemble`, time", WALL, "s", Goal(3)),
                Line("default `/explain` on `ensemble`, CPU", CPU, "s"),
                Line("default `/explain` on `ensemble`, answers with 504", LATE, "", Goal(0)),
            ),
            lambda checkout: asked(
                digitscope(checkout),
                "/explain?model=ensemble",
                RAW,
                f'"digit":{DIGIT}',
                count=1,
                scale=1,
                warm=1,
            ),
            [repeated(SMOOTH, "gradients.py", "smooth", ensemble, digit, count=2, scale=1)],
        ),
    }
