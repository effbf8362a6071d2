"""Says which label the path of a picture or a cell of a table names.

Knows names and the classes of a model; knows no files.
"""

import os
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

LabelSource = Literal["auto", "folder", "suffix"]
MAX_NAMED_CLASSES = 12  # of a model that a message lists
MAX_SHOWN = 40  # characters of a label or a text that a message shows


class FoundLabel(NamedTuple):
    """The label that the path of a picture gives.

    Attributes:
        label: Name of the class; empty if there is none.
        folder: The folder of the picture without the one that is the label; `.` is the top.
        is_torn: Whether its folder and the end of its name say different labels.
    """

    label: str
    folder: str
    is_torn: bool


class LabelRules:
    """The labels that a model knows, and where a label is looked for."""

    def __init__(self, classes: Sequence[str], source: LabelSource = "auto") -> None:
        """Take the names of the classes, and what gives a label (`find_labelled_images`)."""
        self._classes = {unicodedata.normalize("NFC", name): name for name in classes}
        self._source = source
        more = len(classes) - MAX_NAMED_CLASSES
        self.valid = ", ".join(classes[:MAX_NAMED_CLASSES])  # for messages
        self.valid += f" and {more} more" if more > 0 else ""

    def class_named(self, text: str) -> str:
        """Return the class of a name, or ""; 7.0 is 7, as tables write it that had empty cells."""
        text = text if text.isascii() else unicodedata.normalize("NFC", text)
        return self._classes.get(text) or self._classes.get(text.removesuffix(".0"), "")

    def label_of(self, name: str) -> FoundLabel:
        """Return the label of a picture.

        Args:
            name: Path of the picture in the folder.
        """
        folders = name.split(os.sep)[:-1]
        place, by_folder = self._folder_label(folders)
        by_suffix = self._suffix_label(name)
        uses_folder = bool(by_folder) and self._source != "suffix"
        if uses_folder:
            del folders[place]
        label = by_folder if uses_folder else by_suffix if self._source != "folder" else ""
        is_torn = bool(by_folder and by_suffix and by_folder != by_suffix)
        group = os.path.join(".", *folders).removeprefix(f".{os.sep}")
        return FoundLabel(label, group, is_torn and self._source == "auto")

    def no_label(self) -> str:
        """Return why a picture has no label."""
        folder, suffix = "its folder", "the end of its name (abc_3.png)"
        where = {
            "folder": f"{folder} is not",
            "suffix": f"{suffix} is not",
            "auto": f"neither {folder} nor {suffix} is",
        }[self._source]
        return f"has no label: {where} one of {self.valid}"

    def cell_fault(self, label: str, text: str) -> str:
        """Return why the cells of a row give no label and no text of a page, or ""."""
        if label and text:
            return "has two labels: a label and a text"
        if text:
            return self._text_fault(text)
        if not label:
            return "has no label: its cell is empty"
        if self.class_named(label):
            return ""
        fault = (
            f"has the label {label[:MAX_SHOWN]!r}, which the model does not know: it knows"
            f" {self.valid}"
        )
        is_page = len(label) > 1 and not self._text_fault(label)
        return f"{fault}. The text of a page belongs in the column 'text'" if is_page else fault

    def _text_fault(self, text: str) -> str:
        """Return why a text is none of a page, or ""; signs and spaces do not count, letters do."""
        if any(len(name) > 1 for name in self._classes):
            return "has a text, which needs a model whose classes have names of one character"
        unknown = [
            char for char in dict.fromkeys(text) if char.isalnum() and not self.class_named(char)
        ]
        if unknown:
            shown = ", ".join(map(repr, unknown[:MAX_NAMED_CLASSES]))
            return (
                f"has the text {text[:MAX_SHOWN]!r} with {shown}, which the model does not know: it"
                f" knows {self.valid}"
            )
        if any(map(self.class_named, text)):
            return ""
        return f"has the text {text[:MAX_SHOWN]!r}, which has none of {self.valid}"

    def _folder_label(self, folders: Sequence[str]) -> tuple[int, str]:
        """Return the place of the nearest folder that is named like a class, and the class."""
        for place in reversed(range(len(folders))):
            if label := self.class_named(folders[place]):
                return place, label
        return -1, ""

    def _suffix_label(self, name: str) -> str:
        """Return the class that the end of the name is after an underscore, or ""."""
        parts = os.path.splitext(os.path.basename(name))[0].split("_")
        for start in range(1, len(parts)):  # the name of a class may hold underscores itself
            if label := self.class_named("_".join(parts[start:])):
                return label
        return ""
