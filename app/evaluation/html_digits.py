"""The parts of a report about pictures of one digit.

Knows figures and elements; knows nothing of how they were measured.
"""

from collections.abc import Sequence

from app.evaluation.html_elements import (
    confusion_matrix,
    paragraph,
    picture,
    reliability_diagram,
    table,
    text,
)
from app.evaluation.schema import Calibration, DigitFigures, MisreadPicture, ModelFigures
from app.evaluation.wording import interval, percent

MAX_MISREAD = 300  # pictures of the gallery, of about 4 KB each
MAX_FOLDERS = 100
MAX_MATRIX = 40  # classes of a matrix; others are listed
MAX_CONFUSIONS = 40  # of a list


def digit_sections(model: ModelFigures, classes: Sequence[str]) -> str:
    """Return the confusions, the calibration and the folders of a model, or ""."""
    digits = model.digits
    if not digits:
        return ""
    return (
        f"<h2>{text(model.name)} on pictures of one digit</h2>"
        f"<h3>Which labels are read as which digits</h3>{_confusions(digits, classes)}"
        f"<h3>Whether confidences can be trusted</h3>{_calibration(digits.calibration)}"
        + _folders(digits)
    )


def _confusions(digits: DigitFigures, classes: Sequence[str]) -> str:
    if not digits.wrong:
        return paragraph("Every picture is read as its label.")
    if len(classes) <= MAX_MATRIX:
        caption = "Number of pictures: a row for each label, a column for each answer"
        return confusion_matrix(caption, classes, digits.confusion)
    cells = [
        (count, label, answer)
        for label, row in zip(classes, digits.confusion, strict=True)
        for answer, count in zip(classes, row, strict=True)
        if count and label != answer
    ]
    rows = [
        (label, answer, f"{count:,}")
        for count, label, answer in sorted(cells, reverse=True)[:MAX_CONFUSIONS]
    ]
    return table("The most frequent wrong answers", ("Label", "Answer", "Pictures"), rows)


def _calibration(calibration: Calibration) -> str:
    error = percent(calibration.expected_calibration_error)
    label = f"Share of right answers by confidence; expected calibration error {error}"
    rows = [
        (percent(each.confidence), f"{each.digits:,}", percent(each.accuracy))
        for each in calibration.reliability
    ]
    diagram = reliability_diagram(label, calibration.reliability, calibration.bins)
    bins = table(
        f"Answers in {calibration.bins} bins by confidence; empty bins are left out",
        ("Mean confidence", "Answers", "Right"),
        rows,
    )
    caption = (
        f"Expected calibration error: {error}. On the dashed line, confidences are as high as the"
        " share of right answers; bars below it are too confident."
    )
    return (
        f'<div class="side"><figure>{diagram}<figcaption>{text(caption)}</figcaption></figure>'
        f"{bins}</div>"
    )


def _folders(digits: DigitFigures) -> str:
    if len(digits.folders) < 2:
        return ""
    rows = [
        (
            each.folder,
            f"{each.pictures:,}",
            f"{each.wrong:,}",
            percent(each.error_rate),
            interval(each.interval),
            f"{each.refused:,}",
        )
        for each in digits.folders[:MAX_FOLDERS]
    ]
    headers = ("Folder", "Pictures", "Wrong", "Error", "95 % interval", "Unsure or refused")
    rest = len(digits.folders) - MAX_FOLDERS
    more = paragraph(f"{rest:,} folders with fewer errors are left out.", "soft")
    return f"<h3>Folders</h3>{table('Most errors first', headers, rows)}{more if rest > 0 else ''}"


def misread_gallery(models: Sequence[ModelFigures]) -> str:
    """Return every misread picture with what the network received, up to `MAX_MISREAD`."""
    measured = [model for model in models if model.digits]
    wrong = dict[str, dict[str, MisreadPicture]]()
    for model in measured:
        for each in model.digits.misread if model.digits else ():
            wrong.setdefault(each.name, {})[model.name] = each
    if not wrong:
        return ""
    ordered = sorted(
        wrong.items(),
        key=lambda item: (-len(item[1]), -max(each.confidence for each in item[1].values())),
    )
    names = [model.name for model in measured]
    shown = "".join(_entry(by_model, names) for _, by_model in ordered[:MAX_MISREAD])
    rest = len(ordered) - MAX_MISREAD
    order = "the most confident answers first"
    if len(names) > 1:
        order = f"those that most models misread first, then {order}"
    sentence = f"{len(ordered):,} pictures are misread: {order}."
    if rest > 0:
        sentence += f" The last {rest:,} are left out; digitscope evaluate --json lists all."
    return f'<h2>Misread pictures</h2>{paragraph(sentence)}<ul class="gallery">{shown}</ul>'


def _entry(by_model: dict[str, MisreadPicture], models: Sequence[str]) -> str:
    """Return a misread picture with the answers of all models."""
    first = next(iter(by_model.values()))
    small = picture("jpeg", first.picture, "The picture") if first.picture else ""
    prepared = picture("png", first.prepared, "What the network received", prepared=True)
    answers = []
    for model in models:
        prefix = f"{text(model)}: " if len(models) > 1 else ""
        each = by_model.get(model)
        if each is None:
            answers.append(f'<p>{prefix}<span class="good">right</span></p>')
            continue
        verdict = "" if each.verdict == "digit" else f", {each.verdict}"
        said = f"read as {each.answer}"
        answers.append(
            f'<p>{prefix}<span class="bad">{text(said)}</span>'
            f" {text(f'({percent(each.confidence)}{verdict})')}</p>"
        )
    warnings = "".join(f'<p class="name">{text(each)}</p>' for each in first.warnings)
    return (
        f'<li><div class="pictures">{small}{prepared}</div><p>Label {text(first.label)}</p>'
        f'{"".join(answers)}<p class="name">{text(first.name)}</p>{warnings}</li>'
    )
