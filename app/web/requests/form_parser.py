"""Parses `multipart/form-data` (RFC 7578) as it arrives, into names and contents.

A small file takes about 2 us; Starlette's parser takes 20, because it creates a temporary file and
several objects for each (docs/performance.md). Knows bytes; knows nothing of requests or images.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from python_multipart.multipart import parse_options_header

from app.errors import TooLargeError, UndecodableError

MAX_HEADERS = 8  # of a part
MAX_HEADER_BYTES = 4224  # of each; a file's name may have 4 kB
MAX_BOUNDARY_BYTES = 256
MAX_PREAMBLE_BYTES = 16 * 1024  # before the first boundary; a mail program writes one line
# RFC 9110: the name of a header is a token.
_IS_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
# All headers of a part as nearly all clients send them, and the empty line after them; parsing them
# one by one takes five times as long.
_match_plain = re.compile(
    rb'Content-Disposition: form-data; name="([^"\\;\r]*)"(; filename="[^"\\;\r]*")?\r\n'
    rb"(?:Content-Type: [^\r]*\r\n)?\r\n"
).match
# What may follow the first boundary on its line, and the beginnings of that.
_match_end_of_start = re.compile(rb"--|[ \t]*(\r?\n)").match
_may_become_end_of_start = re.compile(rb"-|[ \t]*\r?").fullmatch


class FormPart(NamedTuple):
    """A part of a form: a file, or text if it came without a filename."""

    name: str
    content: bytes
    is_file: bool


class FormParser:
    """Parses a form in chunks of any size.

    Text before the first boundary and after the last one is ignored (RFC 2046, section 5.1.1). If
    the line of the first boundary ends in LF without CR, so do all lines of the form.

    Attributes:
        parts: The parts that are complete.
        ended: Whether the boundary that closes the form has come. What follows it is ignored.
    """

    def __init__(
        self,
        boundary: bytes,
        charset: str,
        *,
        max_files: int,
        max_fields: int,
        max_field_bytes: int,
    ) -> None:
        """Begin a form.

        Args:
            boundary: The parameter `boundary` of the form's media type.
            charset: Codec of the names; a name that is not in it is read as Latin-1.
            max_files: Most files.
            max_fields: Most parts that are text.
            max_field_bytes: Largest content of such a part.

        Raises:
            UndecodableError: The boundary is too long.
        """
        if len(boundary) > MAX_BOUNDARY_BYTES:
            raise invalid_form(f"Its boundary has more than {MAX_BOUNDARY_BYTES} bytes.")
        self.parts: list[FormPart] = []
        self.ended = False
        self._line_end, self._delimiter = b"\r\n", b"\r\n--" + boundary
        self._charset = charset
        self._max_files, self._max_fields = max_files, max_fields
        self._max_field_bytes = max_field_bytes
        self._files = self._fields = 0
        # Bytes that are not parsed yet begin at this position. A step parses some of them and
        # returns False if it needs more. It is a function, because a method of this object would
        # form a reference cycle that keeps the files in memory.
        # The line end before the body lets the first boundary begin it.
        self._data, self._at = b"\n", 0
        self._preamble_bytes = 0
        self._step: Callable[[FormParser], bool] = FormParser._parse_start
        self._begin_part()

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes of a form.

        Raises:
            UndecodableError: The form is not valid, or has too many or too large text fields.
            TooLargeError: The form has too many files.
        """
        self._data = self._data[self._at :] + chunk
        self._at = 0
        while self._step(self):
            pass

    def finish(self) -> None:
        """Note that no more bytes come.

        Raises:
            UndecodableError: The form is incomplete.
        """
        if self._step is FormParser._parse_start:
            raise invalid_form("Its boundary begins none of its lines.")
        if not self.ended:
            raise UndecodableError(
                "The form is incomplete: expected a line with the boundary and '--' at its end."
            )

    def _begin_part(self) -> None:
        self._headers, self._disposition = 0, b""
        self._name, self._is_file = "", False
        self._content = bytearray()

    def _parse_start(self) -> bool:
        """Find the line of the first boundary; skip the preamble before it."""
        first = self._delimiter[1:]
        begin = self._data.find(first, self._at)
        if begin < 0:  # it may begin in the last bytes
            self._skip_preamble(max(self._at, len(self._data) - len(first) + 1))
            return False
        self._skip_preamble(begin)
        end = _match_end_of_start(self._data, begin + len(first))
        if end is None:
            if _may_become_end_of_start(self._data, begin + len(first)):
                _check_preamble(len(self._data) - begin)  # spaces without end
                return False
            self._skip_preamble(begin + len(first))
            return True
        self._at = end.end()
        if end[1] is None:
            return self._end()
        self._line_end, self._delimiter = end[1], end[1] + first[1:]
        self._step = FormParser._parse_headers
        return True

    def _skip_preamble(self, end: int) -> None:
        self._preamble_bytes += end - self._at
        self._at = end
        _check_preamble(self._preamble_bytes)

    def _end(self) -> bool:
        self.ended = True
        self._step = FormParser._ignore
        return True

    def _ignore(self) -> bool:
        self._at = len(self._data)
        return False

    def _require_line_end(self) -> None:
        if not self._data.startswith(self._line_end, self._at):
            expected = "CR and LF" if self._line_end == b"\r\n" else "LF"
            raise invalid_form(f"A line ends in something else than {expected}.")
        self._at += len(self._line_end)

    def _parse_headers(self) -> bool:
        """Parse the headers of a part at once if they are plain, else one by one."""
        plain = _match_plain(self._data, self._at) if self._line_end == b"\r\n" else None
        if plain and plain.end() - self._at <= MAX_HEADER_BYTES:
            self._at = plain.end()
            self._begin_content(plain[1], is_file=plain[2] is not None)
        else:
            self._step = FormParser._parse_header
        return True

    def _parse_header(self) -> bool:
        """Parse a header of a part, or the empty line after the last."""
        end = self._data.find(self._line_end[:1], self._at)
        length = (len(self._data) if end < 0 else end) - self._at
        if length > MAX_HEADER_BYTES:
            raise invalid_form(f"A header of a part has more than {MAX_HEADER_BYTES} bytes.")
        if end < 0 or end + len(self._line_end) > len(self._data):
            return False
        line, self._at = self._data[self._at : end], end
        self._require_line_end()
        if not line:
            self._end_headers()
            return True
        self._headers += 1
        if self._headers > MAX_HEADERS:
            raise invalid_form(f"A part has more than {MAX_HEADERS} headers.")
        name, colon, value = line.partition(b":")
        if not (colon and _IS_TOKEN(name)):
            raise invalid_form("A header of a part has no name.")
        if name.lower() == b"content-disposition":
            self._disposition = value.lstrip(b" ")
        return True

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise invalid_form("A part has no header Content-Disposition with a name.")
        self._begin_content(options[b"name"], is_file=b"filename" in options)

    def _begin_content(self, name: bytes, *, is_file: bool) -> None:
        self._is_file = is_file
        try:
            self._name = name.decode(self._charset)
        except UnicodeDecodeError:
            self._name = name.decode("latin-1")
        self._files += self._is_file
        self._fields += not self._is_file
        if self._files > self._max_files:
            raise TooLargeError(
                f"The form has too many files; at most {self._max_files} are accepted here."
            )
        if self._fields > self._max_fields:
            raise invalid_form(f"It has more than {self._max_fields} fields that are no files.")
        self._step = FormParser._parse_content

    def _parse_content(self) -> bool:
        end = self._data.find(self._delimiter, self._at)
        if end < 0:
            # A delimiter may begin in the last bytes.
            end = max(self._at, len(self._data) - len(self._delimiter) + 1)
            self._add_content(self._data[self._at : end])
            self._at = end
            return False
        self._add_content(self._data[self._at : end])
        self._at = end + len(self._delimiter)
        self._step = FormParser._parse_after_delimiter
        return True

    def _add_content(self, content: bytes) -> None:
        self._content += content
        if not self._is_file and len(self._content) > self._max_field_bytes:
            raise invalid_form(f"A text field has more than {self._max_field_bytes} bytes.")

    def _parse_after_delimiter(self) -> bool:
        """End the part if the line with the delimiter ends here, or the form if two hyphens follow.

        A line that only begins like the delimiter is content.
        """
        following = self._data[self._at : self._at + 2]
        if following.startswith(self._line_end):
            self._at += len(self._line_end)
            self._end_part()
            self._step = FormParser._parse_headers
        elif following == b"--":
            self._end_part()
            return self._end()
        elif following[:1] in (b" ", b"\t"):
            self._step = FormParser._parse_padding
        elif following in (b"", b"\r", b"-"):
            return False
        else:
            self._add_content(self._delimiter)
            self._step = FormParser._parse_content
        return True

    def _parse_padding(self) -> bool:
        """Parse the spaces that may follow a delimiter, and the end of the line."""
        rest = self._data[self._at :].lstrip(b" \t")
        self._at = len(self._data) - len(rest)
        if rest in (b"", b"\r"):
            return False
        self._require_line_end()
        self._end_part()
        self._step = FormParser._parse_headers
        return True

    def _end_part(self) -> None:
        self.parts.append(FormPart(self._name, bytes(self._content), self._is_file))
        self._begin_part()


def _check_preamble(size: int) -> None:
    if size > MAX_PREAMBLE_BYTES:
        raise invalid_form(f"Its boundary begins no line of its first {MAX_PREAMBLE_BYTES} bytes.")


def invalid_form(reason: str) -> UndecodableError:
    """Return the error for a body that is no valid form.

    Args:
        reason: A sentence that says why.
    """
    return UndecodableError(
        f"The body is no valid multipart/form-data: {reason} Expected a 'boundary' parameter in the"
        " Content-Type and one part per file."
    )
