"""Tests of the labelled pictures that `digitscope evaluate` and `digitscope adapt` read."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from app import label_table, labelled_images
from app.bundle import DIGITS
from app.errors import DigitscopeError, InvalidInputError, TooLargeError
from app.labelled_images import LabelledImages, LabelSource, find_labelled_images
from app.samples import sample_png

LETTERS = ("A", "B", "a_b", "é")


def _write(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample_png(3))
    return root


def _labels(found: LabelledImages) -> dict[str, str]:
    return {image.name: image.label or image.text for image in found.images}


def _refused(found: LabelledImages) -> dict[str, str]:
    return {refused.name: refused.reason for refused in found.refused}


def test_nearest_folder_gives_the_label(tmp_path: Path) -> None:
    """The folder that holds a picture counts, then the folders around it."""
    _write(tmp_path, "3/abc.png", "3/anna/b.JPG", "train/7/c.png", "1/5/d.tiff")
    found = find_labelled_images(tmp_path, DIGITS)
    assert _labels(found) == {"1/5/d.tiff": "5", "3/abc.png": "3", "3/anna/b.JPG": "3"} | {
        "train/7/c.png": "7"
    }
    assert [image.folder for image in found.images] == ["1", ".", "anna", "train"]
    assert not found.refused
    assert not found.warnings


def test_end_of_the_name_gives_the_label(tmp_path: Path) -> None:
    """What follows an underscore is the label of a picture in a folder that is none."""
    _write(tmp_path, "abc_3.png", "scans/page_2_7.png")
    assert _labels(find_labelled_images(tmp_path, DIGITS)) == {
        "abc_3.png": "3",
        "scans/page_2_7.png": "7",
    }


def test_folder_goes_before_the_end_of_the_name(tmp_path: Path) -> None:
    """Numbered files keep the label of their folder; a warning names them and the option."""
    _write(tmp_path, "3/img_1.png", "3/img_3.png", "3/img_12.png")
    found = find_labelled_images(tmp_path, DIGITS)
    assert set(_labels(found).values()) == {"3"}
    (warning,) = found.warnings
    assert warning.startswith("1 of 3 pictures have a folder and an end of the name")
    assert "3/img_1.png" in warning


@pytest.mark.parametrize(("source", "label"), [("folder", "1"), ("suffix", "7")])
def test_source_of_the_labels_can_be_given(tmp_path: Path, source: LabelSource, label: str) -> None:
    """Where the folder is a writer's number, the end of the name can be chosen; and no table."""
    _write(tmp_path, "1/anna_7.png", "other.png")
    (tmp_path / "labels.csv").write_text("path,label\n1/anna_7.png,2\n")
    found = find_labelled_images(tmp_path, DIGITS, source)
    assert _labels(found) == {"1/anna_7.png": label}
    assert not found.warnings
    assert "abc_3.png" in _refused(found)["other.png"] or source == "folder"


def test_labels_are_the_classes_of_the_model(tmp_path: Path) -> None:
    """A model of letters knows letters, also with underscores and in another normal form."""
    decomposed = "e\u0301"
    _write(tmp_path, "A/1.png", "x_B.png", "x_a_b.png", f"{decomposed}/1.png", "3/1.png")
    found = find_labelled_images(tmp_path, LETTERS)
    assert _labels(found) == {
        "A/1.png": "A",
        "x_B.png": "B",
        "x_a_b.png": "a_b",
        f"{decomposed}/1.png": "é",
    }
    assert _refused(found) == {
        "3/1.png": "has no label: neither its folder nor the end of its name (abc_3.png) is one of"
        " A, B, a_b, é"
    }


@pytest.mark.parametrize(
    "content",
    [
        "path,label\na.png,3\nsub/b.png,7\n",
        "\ufefflabel;writer;path\r\n3;Anna;a.png\r\n7;Anna;sub\\b.png\r\n",  # from a spreadsheet
        '"Path"\t"Label"\n"a.png"\t3.0\n./sub/b.png\t 7 \n\n',
        "path,label,path2\ra.png,3,x\rsub/b.png,7\r",
        'path,"writer, first name",label,page\na.png,"Doe, Jane",3,1\nsub/b.png,"Doe, Jane",7,1\n',
        'path;label;"comment, if any, or none, please"\na.png;3;x\nsub/b.png;7;y\n',
        '"a\nb","path","label"\nx,a.png,3\nx,sub/b.png,7\n',
        "sep=;\r\npath;label\r\na.png;3\r\n;;\r\nsub/b.png;7\r\n",  # from Excel
        '\n,,\npath, label\na.png, "3"\nsub/b.png, "7"\na.png,3.0\n',
    ],
)
def test_csv_table_gives_the_labels(tmp_path: Path, content: str) -> None:
    """A table as spreadsheets and programs write it: separators, order, other columns, ends."""
    _write(tmp_path, "a.png", "sub/b.png")
    (tmp_path / "mine.csv").write_text(content, newline="")
    found = find_labelled_images(tmp_path / "mine.csv", DIGITS)
    assert list(_labels(found).values()) == ["3", "7"]
    assert not found.refused


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.csv", "path\tlabel\r\nM\u00fcller.png\t3\r\n"),
        ("mine.jsonl", '{"Path": "M\u00fcller.png", "LABEL": 3}\r\n'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_tables_of_windows_are_read(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    """PowerShell and Excel write UTF-16; capitals in the names of columns do not matter."""
    _write(tmp_path, "M\u00fcller.png")
    (tmp_path / name).write_text(content, encoding=encoding, newline="")
    found = find_labelled_images(tmp_path / name, DIGITS)
    assert _labels(found) == {"M\u00fcller.png": "3"}
    assert not found.refused


@pytest.mark.parametrize(
    ("stored", "written", "encoding"),
    [
        ("M\u00fcller.png", "M\u00fcller.png", "cp1252"),  # a spreadsheet of Windows
        ("Mu\u0308ller.png", "M\u00fcller.png", "utf-8"),  # an archive of macOS
        ("M\u00fcller.png", "Mu\u0308ller.png", "utf-8"),
        ("sub/M\u00fcller.png", "sub\\M\u00fcller.png", "cp1252"),
    ],
)
def test_names_of_other_systems_are_found(
    tmp_path: Path, stored: str, written: str, encoding: str
) -> None:
    """A table may spell a name in another encoding, normal form or with other separators."""
    _write(tmp_path, stored)
    (tmp_path / "labels.csv").write_text(f"path;label\n{written};3\n", encoding=encoding)
    found = find_labelled_images(tmp_path, DIGITS)
    assert _labels(found) == {stored: "3"}
    assert not found.refused


def test_json_lines_give_the_labels(tmp_path: Path) -> None:
    """The table of a folder goes before names; numbers are labels; unlisted pictures are named."""
    _write(tmp_path, "3/a.png", "b_3.png", "c_3.png")
    rows = [
        {"path": "3/a.png", "label": 7, "request_id": "x"},
        {"path": str(tmp_path / "b_3.png"), "label": "8"},
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = find_labelled_images(tmp_path, DIGITS)
    assert _labels(found) == {"3/a.png": "7", "b_3.png": "8"}
    assert _refused(found) == {"c_3.png": "has no label: labels.jsonl does not list it"}


def test_pages_have_texts(tmp_path: Path) -> None:
    """A text may have lines, spaces and signs; letters that the model does not know are refused."""
    _write(tmp_path, "a.png", "b.png", "c.png", "d.png", "e.png")
    (tmp_path / "labels.csv").write_text(
        'path,label,text\na.png,,"12 34\n56"\nb.png,,2026-11-30\nc.png,,12A4\nd.png,,---\n'
        "e.png,3,3\n"
    )
    found = find_labelled_images(tmp_path, DIGITS)
    assert _labels(found) == {"a.png": "12 34\n56", "b.png": "2026-11-30"}
    assert [image.label for image in found.images] == ["", ""]
    refused = _refused(found)
    assert "the text '12A4' with 'A', which the model does not know" in refused["c.png"]
    assert refused["d.png"].startswith("has the text '---', which has none of 0, 1,")
    assert refused["e.png"] == "has two labels: a label and a text"
    (tmp_path / "labels.csv").write_text("path,text\na.png,AB\n")
    assert "names of one character" in _refused(find_labelled_images(tmp_path, LETTERS))["a.png"]


def test_rows_that_give_no_label_are_refused(tmp_path: Path) -> None:
    """Empty, unknown and contradicting labels, and missing files, each get their reason."""
    _write(tmp_path, "a.png", "b.png", "c.png", "d.png")
    (tmp_path / "labels.csv").write_text(
        "path,label\na.png,\nb.png,12\nc.png,3\n./c.png,5\nd.png,4\nd.png,4\nmissing.png,1\n,7\n"
        "../up.png,3\nnul\0.png,3\nsub,3\n"
    )
    (tmp_path / "sub").mkdir()
    found = find_labelled_images(tmp_path, DIGITS)
    assert _labels(found) == {"d.png": "4"}
    assert _refused(found) == {
        "labels.csv, line 9": "the row has no path",
        "a.png": "has no label: its cell is empty",
        "b.png": "has the label '12', which the model does not know: it knows 0, 1, 2, 3, 4, 5, 6,"
        " 7, 8, 9. The text of a page belongs in the column 'text'",
        "c.png": "has two labels: '3' in line 4 of labels.csv, and '5' in line 5",
        "missing.png": "cannot be opened: there is no such file",
        "../up.png": "is outside the folder of the table; only pictures inside it are read",
        "nul\0.png": "cannot be opened: no file can have this name",
        "sub": "is a folder; only regular files are read",
    }


def test_links_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """Links to other folders, out of the folder, in circles and to nothing are refused."""
    root = _write(tmp_path / "in", "3/a.png")
    outside = _write(tmp_path / "out", "3/secret.png")
    (root / "3" / "inside.png").symlink_to("a.png")
    (root / "3" / "outside.png").symlink_to(outside / "3" / "secret.png")
    (root / "3" / "circle.png").symlink_to("circle.png")
    (root / "3" / "nothing.png").symlink_to("gone.png")
    (root / "3" / "up").symlink_to("..")
    (root / "5").symlink_to(outside / "3")
    found = find_labelled_images(root, DIGITS)
    assert _labels(found) == {"3/a.png": "3", "3/inside.png": "3"}
    assert _refused(found) == {
        "3/outside.png": "is a link that leads out of the folder; it is not followed",
        "3/circle.png": "is a link that leads in a circle",
        "3/nothing.png": "cannot be opened: there is no such file",
        "3/up": "is a link to a folder; such links are not followed",
        "5": "is a link to a folder; such links are not followed",
    }
    (root / "labels.csv").write_text("path,label\n5/secret.png,5\n3/up/3/a.png,3\n")
    found = find_labelled_images(root / "labels.csv", DIGITS)
    assert _labels(found) == {"3/up/3/a.png": "3"}
    assert "out of the folder" in _refused(found)["5/secret.png"]


def test_table_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """The table of a folder that comes from elsewhere may be a link to any file of the user."""
    root = _write(tmp_path / "in", "a.png")
    (tmp_path / "secret.csv").write_text("path,label\na.png,3\n")
    (root / "labels.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(InvalidInputError, match="leads out of the folder"):
        find_labelled_images(root, DIGITS)
    assert _labels(find_labelled_images(root / "labels.csv", DIGITS)) == {"a.png": "3"}


def test_table_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """A table on a share that is not mounted is no reason to take labels from names."""
    _write(tmp_path, "a_3.png")
    (tmp_path / "labels.csv").symlink_to(tmp_path / "share" / "labels.csv")
    with pytest.raises(InvalidInputError, match=r"labels\.csv cannot be opened: there is no such"):
        find_labelled_images(tmp_path, DIGITS)
    assert _labels(find_labelled_images(tmp_path, DIGITS, "suffix")) == {"a_3.png": "3"}


def test_folders_may_be_deep(tmp_path: Path) -> None:
    """Folders inside each other are no recursion; a path that is too long is named."""
    _write(tmp_path, "3/a.png")
    here = os.open(tmp_path / "3", os.O_RDONLY)
    for _ in range(40):
        os.mkdir("x" * 200, dir_fd=here)
        inside = os.open("x" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inside
    os.close(here)
    found = find_labelled_images(tmp_path, DIGITS)
    assert _labels(found) == {"3/a.png": "3"}
    assert list(_refused(found).values()) == ["cannot be opened: File name too long"]


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    """Pipes, sockets and other files are named with what they are; hidden files are left out."""
    _write(tmp_path, "3/.hidden.png", "3/._a.png", "3/Thumbs.db", ".git/3/a.png", "3/a.txt")
    (tmp_path / "3" / "more.csv").write_text("path,label\n")
    os.mkfifo(tmp_path / "3" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "3" / "socket.png"))
    (tmp_path / "3" / "folder.png").mkdir()
    found = find_labelled_images(tmp_path, DIGITS)
    assert not found.images
    refused = _refused(found)
    assert sorted(refused) == ["3/a.txt", "3/more.csv", "3/pipe.png", "3/socket.png"]
    assert refused["3/pipe.png"] == "is a pipe; only regular files are read"
    assert refused["3/socket.png"] == "is a socket; only regular files are read"
    assert refused["3/a.txt"].startswith("is not named like a picture: PNG")
    assert "labels.csv or labels.jsonl at the top" in refused["3/more.csv"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on this system")
def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    """A name in another encoding is found by its folder and by a table in the same encoding."""
    name = os.fsdecode(b"caf\xe9.png")
    _write(tmp_path, f"3/{name}", "3/two\nlines.png")
    assert set(_labels(find_labelled_images(tmp_path, DIGITS))) == {
        f"3/{name}",
        "3/two\nlines.png",
    }
    (tmp_path / "t.csv").write_bytes(b"path,label\n3/caf\xe9.png,8\n")
    assert _labels(find_labelled_images(tmp_path / "t.csv", DIGITS)) == {f"3/{name}": "8"}


def test_empty_folder_holds_nothing(tmp_path: Path) -> None:
    """No picture is no error here: the command says what it needs."""
    assert find_labelled_images(tmp_path, DIGITS) == LabelledImages()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "must name the columns 'path' and 'label'"),
        ("t.csv", '"' + "x" * 200_000 + "\npath,label\n", "must name the columns"),
        ("t.csv", "path,label,Label\na.png,3,4\n", "has two columns 'label'"),
        ("t.csv", "file,text\na.png,3\n", "it names 'file', 'text'"),
        ("t.csv", "path\na.png\n", "it names 'path'"),
        ("t.csv", "\x1b[31m,b\n", r"it names '\x1b[31m', 'b'"),
        ("t.txt", "path,label\n", "neither a folder nor a table of labels (.csv or .jsonl)"),
        ("a.png", "", "neither a folder nor a table"),
        ("gone.csv", None, "cannot be opened: No such file"),
        ("nul\0.csv", None, "cannot be opened: "),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    """The message says what was expected and what came."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInputError) as raised:
        find_labelled_images(tmp_path / name, DIGITS)
    assert message in raised.value.detail


@pytest.mark.parametrize(
    "line",
    [
        "nothing",
        "[1]",
        '{"label": "3"}',
        '{"path": ["a.png"], "label": "3"}',
        "[" * 100_000,
        '{"path": "a.png", "label": ' + "9" * 5000 + "}",
        '{"path": "a.png"',
    ],
    ids=["text", "list", "no path", "path is a list", "deep", "long number", "cut"],
)
def test_damaged_lines_are_refused(tmp_path: Path, line: str) -> None:
    """Each damaged line is named, and does not stop the others."""
    _write(tmp_path, "a.png")
    good = '{"path": "a.png", "label": "3"}'
    (tmp_path / "labels.jsonl").write_text(f"{good}\n\n{line}\n{good}\n")
    found = find_labelled_images(tmp_path, DIGITS)
    assert _labels(found) == {"a.png": "3"}
    assert list(_refused(found)) == ["labels.jsonl, line 3"]


def test_long_cell_does_not_stop_the_others(tmp_path: Path) -> None:
    """A quote that never ends is refused; the other rows count."""
    _write(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_text('path,label\na.png,3\n"' + "x" * 200_000 + "\nb.png,7\n")
    found = find_labelled_images(tmp_path, DIGITS)
    assert _labels(found) == {"a.png": "3", "b.png": "7"}
    assert ["row cannot be read" in reason for reason in _refused(found).values()] == [True]


def test_two_tables_are_refused(tmp_path: Path) -> None:
    """A folder with two tables says to choose."""
    for name in labelled_images.TABLE_NAMES:
        (tmp_path / name).write_text("path,label\n")
    with pytest.raises(InvalidInputError, match="two tables of labels"):
        find_labelled_images(tmp_path, DIGITS)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with too many bytes or rows and a folder with too many files are refused."""
    _write(tmp_path, "3/a.png", "3/b.png", "3/c.png")
    large, long = tmp_path / "large.csv", tmp_path / "long.csv"
    with large.open("wb") as file:
        file.truncate(1 << 40)  # takes no space on the disk
    long.write_text("path,label\n" + "3/a.png,3\n" * 3)
    monkeypatch.setattr(label_table, "MAX_ROWS", 2)
    monkeypatch.setattr(labelled_images, "MAX_FILES", 4)
    for place in (large, long, tmp_path):
        with pytest.raises(TooLargeError):
            find_labelled_images(place, DIGITS)


def test_pipe_is_no_table(tmp_path: Path) -> None:
    """A pipe is not opened, because it may never begin."""
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(DigitscopeError, match="regular file"):
        find_labelled_images(tmp_path / "labels.csv", DIGITS)
