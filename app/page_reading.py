"""Reads all digits on an image, line by line.

Builds on `app.recognise`. Knows images and models; knows nothing of HTTP.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from app.boxes import Box
from app.errors import BlankImageError, DigitscopeError, InvalidInputError
from app.group_reading import PageDigit, read_groups
from app.imaging.decode import Upload
from app.imaging.polarity import DetectedPolarity
from app.imaging.segment import Segmentation, segment, segment_together
from app.inference.model import Model
from app.recognise import ImageInput, Options, ensure_decoded, working_bytes

# Height of a second digit in heights of the tallest; lower ones are parts of a broken digit.
MIN_SEVERAL_HEIGHT, MIN_EQUAL_HEIGHT = 0.6, 0.7
MAX_SMALL = 64 * 64  # values of the pixels of an image that is read together with others
MAX_WARNED_CHARACTERS = 40  # of the text in a warning


@dataclass(frozen=True)
class Field:
    """A printed frame on a page: a box, a field, a comb of cells or a table.

    Attributes:
        box: Its outline, in pixels of the upload.
        text: The text in it; the rows of a table are separated by line feeds.
    """

    box: Box[int]
    text: str


@dataclass(frozen=True)
class Page:
    """The digits on an image.

    Attributes:
        upload: The decoded image.
        polarity: Which side was taken as ink.
        lines: The digits of each line from left to right; lines from top to bottom.
        fields: The printed frames in reading order, with the text in each.
        warnings: What was not read, and what to do about it.
    """

    upload: Upload
    polarity: DetectedPolarity
    lines: tuple[tuple[PageDigit, ...], ...]
    fields: tuple[Field, ...]
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the text of the lines, separated by line feeds."""
        return "\n".join(line_text(line) for line in self.lines)


def line_text(line: tuple[PageDigit, ...]) -> str:
    """Return the labels of a line as text, with `?` for a mark that is not a digit."""
    return "".join("?" if read.verdict == "not-a-digit" else read.label for read in line)


def read_page(image: ImageInput, model: Model, options: Options) -> Page:
    """Read all digits on an image.

    Raises:
        UndecodableError: The file is not an image, or it is damaged.
        TooLargeError: The image has more than `max_pixels` pixels.
        BlankImageError: The image shows no ink.
        InvalidInputError: `preprocess` is `none`.
    """
    upload = _decode(image, options)
    with options.working_memory(working_bytes(upload)):
        found = segment(upload, polarity=options.polarity, skip=options.skip)
        (read,) = read_groups([found], model, options.skip)
    return _make_page(upload, found, read)


def read_pages(
    images: Iterable[ImageInput], model: Model, options: Options
) -> list[Page | DigitscopeError]:
    """Read all digits on each of many images; what `read_page` raises is in the place of a page.

    The network reads all small images together. After each of its runs, everything else has left
    the processor's caches, so one by one they take half as long again.
    """
    pages = dict[int, Page | DigitscopeError]()
    small = dict[int, Upload]()
    for index, image in enumerate(images):
        try:
            upload = _decode(image, options)
            if upload.pixels.size <= MAX_SMALL:
                small[index] = upload
            else:
                pages[index] = read_page(upload, model, options)
        except DigitscopeError as error:
            pages[index] = error
    pages.update(zip(small, _read_together(list(small.values()), model, options), strict=True))
    return [pages[index] for index in range(len(pages))]


def _read_together(
    uploads: list[Upload], model: Model, options: Options
) -> list[Page | DigitscopeError]:
    """Return what `read_pages` returns, for small images."""
    found = segment_together(uploads, polarity=options.polarity, skip=options.skip)
    pages = [each for each in found if isinstance(each, Segmentation)]
    read = iter(read_groups(pages, model, options.skip))
    return [
        _make_page(upload, each, next(read)) if isinstance(each, Segmentation) else each
        for upload, each in zip(uploads, found, strict=True)
    ]


def _decode(image: ImageInput, options: Options) -> Upload:
    """Return the decoded image; raises what `read_page` raises before it is segmented."""
    if options.preprocess == "none":
        raise InvalidInputError(
            "Several digits can only be read from a prepared image: leave out preprocess=none, or"
            " send each digit to /predict."
        )
    return ensure_decoded(image, options)


def _make_page(upload: Upload, found: Segmentation, groups: list[list[PageDigit]]) -> Page:
    """Return the page with the digits of each of its groups."""
    lines: list[list[PageDigit]] = [
        [] for _ in range(max(group.line for group in found.groups) + 1)
    ]
    for group, digits in zip(found.groups, groups, strict=True):
        lines[group.line] += digits
    read = tuple(tuple(line) for line in lines)
    fields = tuple(
        Field(box, "\n".join(map(line_text, lines_inside(box, read))))
        for box in _in_reading_order(found.fields)
    )
    return Page(upload, found.polarity, read, fields, (*found.warnings, *_warn_of_unsure(read)))


def _warn_of_unsure(lines: tuple[tuple[PageDigit, ...], ...]) -> list[str]:
    """Return a warning if digits of the text are unsure; the text itself does not show that."""
    digits = [read for line in lines for read in line if read.verdict != "not-a-digit"]
    unsure = sum(read.verdict == "unsure" for read in digits)
    if not unsure:
        return []
    return [f"{unsure} of {len(digits)} digits are unsure: see the verdict of each."]


def find_several(upload: Upload, model: Model, options: Options, *, in_doubt: bool) -> str:
    """Return a sentence that names the digits on an image, or "" if it does not show several.

    Args:
        upload: The decoded image.
        model: The network.
        options: How the image is read.
        in_doubt: The network may take all strokes for one digit, such as a broken one: only a line
            of sure digits of about one height are several.

    Raises:
        WorkCancelled: The client has gone, or its deadline has passed.
    """
    try:
        page = read_page(upload, model, options)
    except BlankImageError:
        return ""
    lines = [[read for read in line if read.verdict != "not-a-digit"] for line in page.lines]
    digits = [read for line in lines for read in line]
    if not _are_several(lines) or (in_doubt and not _are_one_line(page.lines)):
        return ""
    text = " ".join(page.text.split())
    if len(text) > MAX_WARNED_CHARACTERS:
        text = text[:MAX_WARNED_CHARACTERS] + "..."
    return f'The image seems to show {len(digits)} digits; POST /read reads "{text}".'


def _are_several(lines: list[list[PageDigit]]) -> bool:
    """Return whether there are two tall digits in a line, or three in all.

    Two above each other may be the parts of a broken digit, and a low one may be a part of another.
    """
    tallest = max((read.box.height for line in lines for read in line), default=0)
    counts = [
        sum(read.box.height >= MIN_SEVERAL_HEIGHT * tallest for read in line) for line in lines
    ]
    return max(counts, default=0) >= 2 or sum(counts) >= 3


def _are_one_line(lines: tuple[tuple[PageDigit, ...], ...]) -> bool:
    """Return whether all marks are sure digits of about one height in one line."""
    marks = [read for line in lines for read in line]
    heights = [read.box.height for read in marks]
    return (
        len(lines) == 1
        and all(read.verdict == "digit" for read in marks)
        and min(heights) >= MIN_EQUAL_HEIGHT * max(heights)
    )


def lines_inside(
    box: Box[int], lines: tuple[tuple[PageDigit, ...], ...]
) -> list[tuple[PageDigit, ...]]:
    """Return the digits whose middle is inside a box, line by line, without empty lines."""
    inside = (tuple(read for read in line if box.contains_middle_of(read.box)) for line in lines)
    return [line for line in inside if line]


def _in_reading_order(boxes: tuple[Box[int], ...]) -> list[Box[int]]:
    """Return boxes row by row from the top, each row from the left.

    A box is in the row above it if its middle is less than half of the lower height away from that
    of the row's first box.
    """
    rows = list[list[Box[int]]]()
    for box in sorted(boxes, key=_doubled_middle):
        first = rows[-1][0] if rows else None
        if first and _doubled_middle(box) - _doubled_middle(first) < min(box.height, first.height):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row, key=lambda each: each.x)]


def _doubled_middle(box: Box[int]) -> int:
    return 2 * box.y + box.height
