"""Answers of a model, and the figures that follow from them."""

from pathlib import Path

from app.bundle import DIGITS, Metadata
from app.evaluation.answers import Answer, Place, Reading
from app.evaluation.figures import compare, model_figures, unreadable
from app.evaluation.schema import Figures, UnusedFile
from app.labelled_images import LabelledImage
from app.render import png_base64
from app.samples import sample_pixels

PREPARED = png_base64(sample_pixels(3))
METADATA = Metadata.model_construct(name="ours", version=3)


def picture(name: str, label: str = "3") -> LabelledImage:
    """Return a labelled picture."""
    return LabelledImage(Path("/scans") / name, name, label, "", 1, 1, str(Path(name).parent))


def read(answer: str, confidence: float = 0.99, verdict: str = "digit") -> Answer:
    """Return the answer for a picture."""
    return Answer(reading=Reading(answer, confidence, verdict, "1", PREPARED), picture="")


PICTURES = [
    (picture("a/1.png"), read("3")),
    (picture("a/2.png"), read("8", 0.7, "unsure")),
    (picture("b/3.png"), read("8", 0.9)),
    (picture("b/4.png", "8"), read("8", 0.6, "unsure")),
    (picture("c.png", "0"), read("0", 0.8, "not-a-digit")),
    (picture("broken.png"), Answer(error="It is broken.")),
]
PAGE = LabelledImage(Path("/scans/page.png"), "page.png", "", "31 4", 1, 1, ".")
PAGE_ANSWER = Answer(
    places=(
        Place("3", Reading("3", 0.9, "digit")),
        Place("1", Reading("7", 0.6, "unsure", prepared=PREPARED)),
        Place("4", None),
        Place("", Reading("9", 0.9, "digit", prepared=PREPARED)),
    ),
    marks=2,
    warnings=("It is dark.",),
)


def figures_of(pairs: list[tuple[LabelledImage, Answer]]) -> Figures:
    """Return the figures of a model from pictures and its answers."""
    images, answers = zip(*pairs, strict=True)
    return Figures(
        digitscope="1.2.3",
        created="2026-11-30T12:00:00Z",
        images="scans",
        classes=list(DIGITS),
        pictures=len(images),
        warnings=["Labels differ."],
        unused=[UnusedFile(name="notes.txt", reason="is not named like a picture")],
        unreadable=unreadable(images, [answers]),
        models=[model_figures(METADATA, DIGITS, images, answers)],
        comparisons=compare(images, [answers, answers], ["ours", "theirs"]),
    )
