"""Bad bodies and bent requests as bytes, each with the status that the HTTP contract gives it."""

import base64
import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from app.samples import sample_png
from tests.forms import npy
from tests.malformed.wire import chunked, request

SEVEN = sample_png(7)
JSON, NPY = "Content-Type: application/json", "Content-Type: application/x-npy"
FORM = "Content-Type: multipart/form-data; boundary=x"
CHUNKED = "Transfer-Encoding: chunked"
OIP, TFS = "/v2/models/compact/infer", "/v1/models/compact:predict"
FILE = b'form-data; name="file"; filename="a"'
LENGTH = "Inference-Header-Content-Length"
BLANK = [0] * 784
# Arrays whose status is another where `[N, 28, 28]` is expected.
BATCH = {"cut off": 422, "with something behind": 422, "of a size beyond memory": 400}


@dataclass(frozen=True)
class Bent:
    """A request as bytes, and the status of its answer."""

    name: str
    status: int
    content: bytes = field(repr=False)


def _header(shape: str, descr: str = "'|u1'", version: bytes = b"\x01\0") -> bytes:
    said = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + len(said).to_bytes(2, "little") + said


def _part(disposition: bytes, content: bytes = SEVEN, headers: bytes = b"") -> bytes:
    return b"--x\r\nContent-Disposition: %b\r\n%b\r\n%b\r\n" % (disposition, headers, content)


def json_bodies() -> Iterator[Bent]:
    """Give JSON that is none, or says something else than an image."""
    good = base64.b64encode(SEVEN).decode()
    cases: dict[str, tuple[int, str | bytes]] = {
        "nothing": (400, b""),
        "cut off": (400, '{"image": "' + good[:50]),
        "100,000 lists in lists": (400, "[" * 100_000),
        "1,000 objects in objects": (400, '{"image":' * 1000),
        "NaN": (422, '{"pixels": [[NaN]]}'),
        "Infinity": (422, '{"pixels": [[Infinity]]}'),
        "a number beyond doubles": (422, '{"pixels": [[1e999]]}'),
        "a number of 5,000 digits": (400, '{"pixels": [[' + "9" * 5000 + "]]}"),
        "a number below 0": (422, json.dumps({"pixels": [[-1] * 28] * 28})),
        "true for 1": (422, json.dumps({"pixels": [[True] * 28] * 28})),
        "a lone surrogate": (400, '{"image": "\\ud800"}'),
        "a lone surrogate as a key": (400, '{"\\udfff": 1}'),
        "a lone surrogate in UTF-8": (400, b'{"image": "\xed\xa0\x80"}'),
        "NUL": (400, '{"image": "\\u0000"}'),
        "a raw NUL": (400, b'{"image": "\0"}'),
        "UTF-16": (400, '{"image": "a"}'.encode("utf-16")),
        "Latin-1": (400, b'{"image": "\xe9"}'),
        "a byte order mark": (400, b"\xef\xbb\xbf{}"),
        "comments": (400, '{"image": "a" /* 7 */}'),
        "single quotes": (400, "{'image': 'a'}"),
        "two documents": (400, f'{{"image": "{good}"}}{{}}'),
        "null": (422, "null"),
        "a string": (422, '"seven"'),
        "one field twice, the last is bad": (400, f'{{"image": "{good}", "image": "@"}}'),
        "one field twice, the last is good": (200, f'{{"image": "@", "image": "{good}"}}'),
        "base64 of the web": (400, '{"image": "-_-_"}'),
        "base64 without its end": (400, f'{{"image": "{good[:-1]}"}}'),
        "a data URL of text": (400, '{"image": "data:text/plain,seven"}'),
        "ten thousand unknown fields": (422, json.dumps(dict.fromkeys(map(str, range(10_000))))),
    }
    for name, (status, body) in cases.items():
        content = body if isinstance(body, bytes) else body.encode()
        yield Bent(f"JSON: {name}", status, request("/predict", content, JSON))
    yield Bent(
        "JSON in UTF-16, as said",
        400,
        request("/predict", "{}".encode("utf-16"), JSON + "; charset=utf-16"),
    )


def forms() -> Iterator[Bent]:
    """Give forms that are cut, misnamed, or bounded by something else than they say."""
    whole, end = _part(FILE), b"--x--\r\n"
    cases: dict[str, tuple[int, bytes]] = {
        "whole": (200, whole + end),
        "with a foreword": (200, b"\r\nA form:\r\n--\r\n" + whole + end),
        "with a foreword of 20 kB": (400, b"a\r\n" * 7_000 + whole + end),
        "with an afterword": (200, whole + end + whole[:-40]),
        "without its last boundary": (400, whole),
        "cut within the file": (400, whole[:-40]),
        "cut within a header": (400, whole[:20]),
        "with another boundary": (400, whole.replace(b"--x", b"--y") + b"--y--\r\n"),
        "with line feeds alone": (
            200,
            _part(FILE, b"").strip().replace(b"\r\n", b"\n") + b"\n\n" + SEVEN + b"\n--x--\n",
        ),
        "with line feeds in its headers": (400, whole.replace(b"\r\n", b"\n", 2) + end),
        "of nothing": (400, b""),
        "of an end alone": (422, end),
        "with two files": (413, whole + whole + end),
        "with text for a file": (422, _part(b'form-data; name="file"') + end),
        "with another name": (422, _part(b'form-data; name="photo"; filename="a"') + end),
        "without a name": (400, _part(b'form-data; filename="a"') + end),
        "without a disposition": (400, b"--x\r\n\r\nseven\r\n" + end),
        "with an empty file": (400, _part(FILE, b"") + end),
        "with 100 fields": (400, b"".join(_part(b'form-data; name="%d"' % n) for n in range(100))),
        "with a name of a megabyte": (400, _part(FILE[:-1] + b"a" * 1_000_000 + b'"') + end),
        "with 10,000 headers": (400, _part(FILE, SEVEN, b"X: y\r\n" * 10_000) + end),
        "that climbs": (200, _part(b'form-data; name="file"; filename="../../etc/passwd"') + end),
        "within a form": (400, _part(FILE, whole + end) + end),
    }
    for name, (status, body) in cases.items():
        yield Bent(f"form {name}", status, request("/predict", body, FORM))
    for name, status, said in (
        ("no boundary", 400, "multipart/form-data"),
        ("an empty boundary", 400, "multipart/form-data; boundary="),
        ("a boundary of 5,000 letters", 400, "multipart/form-data; boundary=" + "b" * 5000),
        ("a boundary that is not ASCII", 400, "multipart/form-data; boundary=\xff"),
        ("a charset that decodes nothing", 415, FORM[14:] + "; charset=undefined"),
        ("a charset that does not exist", 415, FORM[14:] + "; charset=klingon"),
        ("a charset that is no text", 415, FORM[14:] + "; charset=zip"),
        ("a charset that is quadratic", 415, FORM[14:] + "; charset=punycode"),
        ("a charset of UTF-16", 415, FORM[14:] + '; charset="utf-16"'),
        ("another form's type", 415, "application/x-www-form-urlencoded"),
        ("a mixed type", 415, "multipart/mixed; boundary=x"),
    ):
        body = whole + end
        yield Bent(f"form with {name}", status, request("/predict", body, f"Content-Type: {said}"))


def arrays() -> Iterator[Bent]:
    """Give NumPy files that lie, or ask to be unpickled."""
    whole = npy(np.zeros((28, 28), np.uint8))
    cases: dict[str, tuple[int, bytes]] = {
        "blank": (422, whole),
        "cut off": (400, whole[:-1]),
        "with something behind": (400, whole + b"x"),
        "of its magic alone": (400, whole[:6]),
        "of a header without an end": (400, whole[:40]),
        "of version 3": (400, _header("(28, 28)", version=b"\x03\0")),
        "of version 255": (400, _header("(28, 28)", version=b"\xff\xff")),
        "of objects": (422, _header("(28, 28)", "'|O'")),
        "of objects in records": (422, _header("(28, 28)", "[('a', '|O')]")),
        "with a pickle behind": (422, _header("(28, 28)", "'|O'") + b"cos\nsystem\n(S'id'\ntR."),
        "with code": (400, _header("__import__('os').getpid()")),
        "with a deep header": (400, _header("(" * 4000)),
        "of a size below 0": (422, _header("(-1, 28)")),
        "of a size beyond memory": (422, _header("(1000000000000, 28, 28)")),
        "of a size of 32,000 bits": (400, _header(f"(0x{'f' * 8000},)")),
        "of truth values": (422, npy(np.zeros((28, 28), bool))),
        "of a size that is a truth value": (400, _header("(True, 28, 28)") + bytes(784)),
        "of big-endian numbers": (422, npy(np.zeros((28, 28), ">i4"))),
        "of complex numbers": (422, npy(np.zeros((28, 28), complex))),
        "of text": (422, npy(np.zeros((28, 28), "U3"))),
        "of one number": (422, npy(np.uint8(7))),
        "of 65 dimensions": (422, _header("(" + "1, " * 65 + ")") + b"\0"),
        "which is an archive": (400, b"PK\x03\x04" + bytes(60)),
    }
    for name, (status, body) in cases.items():
        yield Bent(f"array {name}", status, request("/predict", body, NPY))
        yield Bent(
            f"array {name}, as a batch",
            BATCH.get(name, status),
            request("/predict/batch", body, NPY),
        )
    many = npy(np.zeros((1025, 28, 28), np.uint8))
    yield Bent("array of 1,025 images", 413, request("/predict/batch", many, NPY))
    yield Bent("array of none", 422, request("/predict/batch", _header("(0, 28, 28)"), NPY))


def _tensor(**changed: object) -> bytes:
    """Return a request for one blank digit, with something changed."""
    fields = {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": BLANK}
    return json.dumps({"inputs": [{**fields, **changed}]}).encode()


def _names(count: int) -> bytes:
    """Return a JSON object with many names."""
    return json.dumps(dict.fromkeys(map(str, range(count)))).encode()


def tensors() -> Iterator[Bent]:
    """Give what the two protocols are asked with, bent."""
    binary = _tensor(shape=[1], datatype="BYTES", parameters={"binary_data_size": 4})
    binary = binary.replace(b'"data": ' + json.dumps(BLANK).encode() + b", ", b"")
    long = 10**4000
    cases: dict[str, tuple[int, bytes, tuple[str, ...]]] = {
        "whole": (200, _tensor(), ()),
        "sizes of 4,000 digits": (400, _tensor(shape=[long, long]), ()),
        "a million sizes": (400, _tensor(shape=[9] * 1_000_000), ()),
        "sizes below 0": (400, _tensor(shape=[-1, -784]), ()),
        "sizes that are true": (400, _tensor(shape=[True, 784]), ()),
        "numbers of 4,000 digits": (400, _tensor(data=[long] * 784), ()),
        "a long text among short ones": (
            400,
            _tensor(datatype="FP32", data=["x" * 400_000] + ["y"] * 4000, shape=[4001]),
            (),
        ),
        "a name of 1 MB": (400, _tensor(name="x" * 1_000_000), ()),
        "a datatype of 1 MB": (400, _tensor(datatype="x" * 1_000_000), ()),
        "fewer files than the shape says": (
            400,
            _tensor(datatype="BYTES", data=["eA=="], shape=[2]),
            (),
        ),
        "numbers of 64 bits": (400, _tensor(data=[2**64 - 1] * 784), ()),
        "ragged lists": (400, _tensor(data=[[1], [1, 2]]), ()),
        "deep lists": (400, b'{"inputs": ' + b"[" * 5000, ()),
        "150 lists in lists": (400, _tensor(data="@").replace(b'"@"', b"[" * 150 + b"]" * 150), ()),
        "NaN": (400, _tensor(datatype="FP32", data=[float("nan")] * 784), ()),
        "a datatype that is a list": (400, _tensor(datatype=["UINT8"]), ()),
        "a name that is an object": (400, _tensor(name={}), ()),
        "a lone surrogate": (400, b'{"id": "\\ud800", "inputs": []}', ()),
        "a length of 5,000 digits": (400, _tensor(), (f"{LENGTH}: {'1' * 5000}",)),
        "a length below 0": (400, _tensor(), (f"{LENGTH}: -1",)),
        "a length in other digits": (400, _tensor(), (f"{LENGTH}: \xb2",)),
        "a length beyond the body": (400, _tensor(), (f"{LENGTH}: 999999",)),
        "an element of 4 GB": (
            400,
            binary + struct.pack("<I", 2**32 - 1),
            (f"{LENGTH}: {len(binary)}",),
        ),
        "bad gzip": (400, b"\x1f\x8bnothing", ("Content-Encoding: gzip",)),
        "gzip cut off": (400, gzip.compress(_tensor())[:-9], ("Content-Encoding: gzip",)),
        "a bomb in gzip": (413, gzip.compress(bytes(50_000_000)), ("Content-Encoding: gzip",)),
        "a bomb in deflate": (
            413,
            zlib.compress(bytes(50_000_000)),
            ("Content-Encoding: deflate",),
        ),
        "200,000 names in gzip": (
            413,
            gzip.compress(_names(200_000)),
            ("Content-Encoding: gzip",),
        ),
        "200,000 names": (413, _names(200_000), ()),
        "200,000 objects": (413, b'{"inputs": [' + b"{}," * 200_000 + b"{}]}", ()),
        "200,000 objects in objects": (413, b'{"inputs":' * 200_000, ()),
        "an encoding that is not read": (415, _tensor(), ("Content-Encoding: br",)),
        "two encodings": (415, _tensor(), ("Content-Encoding: gzip, gzip",)),
    }
    for name, (status, body, headers) in cases.items():
        yield Bent(f"tensor: {name}", status, request(OIP, body, *headers))
    rows: dict[str, bytes] = {
        "no instances": b"{}",
        "instances and inputs": b'{"instances": [1], "inputs": [1]}',
        "a list": b"[]",
        "150 lists in lists": b'{"instances": ' + b"[" * 150 + b"]" * 150 + b"}",
        "numbers of 4,000 digits": b'{"instances": [[' + b"9" * 4000 + b"]]}",
        "a number beyond doubles": b'{"instances": [[1e999]]}',
        "text": b'{"instances": ["seven"]}',
        "a long text among short ones": json.dumps(
            {"instances": ["x" * 400_000] + ["y"] * 4000}
        ).encode(),
        "numbers beyond 64 bits": b'{"instances": [[%d]]}' % 2**70,
        "a signature of 1 MB": b'{"signature_name": "' + b"x" * 1_000_000 + b'", "instances": []}',
        "fields of 1 MB": b'{"instances": [{"' + b"x" * 1_000_000 + b'": 1}]}',
        "a signature that is a list": b'{"signature_name": [], "instances": [[1]]}',
        "bad base64": b'{"instances": [{"b64": "@"}]}',
        "base64 that is a number": b'{"instances": [{"b64": 7}]}',
        "base64 among numbers": b'{"instances": [{"b64": "eA=="}, [1]]}',
        "a field too many": b'{"instances": [{"b64": "eA==", "x": 1}]}',
        "nothing": b"",
    }
    for name, body in rows.items():
        yield Bent(f"instances: {name}", 400, request(TFS, body))
    yield Bent("instances: 200,000 names", 413, request(TFS, _names(200_000)))


def crowds() -> Iterator[Bent]:
    """Give requests of hundreds of thousands of things, where a few are meant.

    They leave holes in the heap, which are filled again at some time.
    """
    outputs = b'{"outputs": [' + b'{"name":"digit"},' * 250_000 + b'{"name":"digit"}], "inputs"'
    body = _tensor().replace(b'{"inputs"', outputs)
    yield Bent("tensor: an output 250,000 times", 413, request(OIP, body))
    body = _tensor(datatype="BYTES", data=[""] * 1_000_000, shape=[1_000_000])
    yield Bent("tensor: a million files", 413, request(OIP, body))
    body = b'{"instances": [' + b'{"b64":""},' * 400_000 + b'{"b64":""}]}'
    yield Bent("instances: 400,000 files", 413, request(TFS, body))


def heads() -> Iterator[Bent]:
    """Give requests whose lines and headers are odd, but HTTP."""
    asked = "X-Request-Timeout: "
    for name, status, content in (
        ("no host", 400, request("/predict", SEVEN, host="")),
        ("two hosts", 400, request("/predict", SEVEN, "Host: x")),
        ("a long target", 414, request("/predict?" + "a" * 20_000, SEVEN)),
        ("a host that is no name", 400, request("/predict", b"", host="Host: [")),
        ("a host that is not ASCII", 400, request("/predict", b"", host="Host: \xff\xfe")),
        ("a whole URL", 200, request("http://x/predict", SEVEN)),
        ("a path of two slashes", 404, request("//[/x", method="GET")),
        ("a path with NUL", 404, request("/models/%00", method="GET")),
        ("a path with surrogates", 404, request("/models/%ED%A0%80", method="GET")),
        ("a path that climbs", 404, request("/page/..%2f..%2fsettings.py", method="GET")),
        ("a path of no route", 404, request("/" + "a" * 8000, method="GET")),
        ("a method of no route", 405, request("/predict", method="DELETE")),
        ("an index of 5,000 digits", 404, request(f"/layers/{'1' * 5000}/activations", SEVEN)),
        ("an index in other digits", 404, request("/layers/%C2%B2/activations", SEVEN)),
        ("a query with surrogates", 404, request("/explain?layer=%ED%A0%80", SEVEN)),
        ("a query of 5,000 digits", 422, request(f"/explain?target={'1' * 5000}", SEVEN)),
        ("a query of NaN", 422, request("/explain?steps=NaN", SEVEN)),
        ("a query that is not asked for", 422, request("/predict?polarty=auto", SEVEN)),
        ("a timeout that is no number", 422, request("/predict", SEVEN, asked + "\xff")),
        ("a timeout of NaN", 422, request("/predict", SEVEN, asked + "nan")),
        ("a timeout of less than nothing", 422, request("/predict", SEVEN, asked + "-1")),
        (
            "a token that is not ASCII",
            401,
            request("/models/compact/reload", b"", "Authorization: Bearer \xff"),
        ),
        ("a type that is none", 415, request("/predict", SEVEN, "Content-Type: \xff/\xfe;=;")),
        ("an empty type", 200, request("/predict", SEVEN, "Content-Type: ")),
        (
            "a type that is accepted by nobody",
            200,
            request("/layers/0/activations", SEVEN, "Accept: \xff;q=9;q=a, ,;"),
        ),
        (
            "an image in gzip",
            200,
            request("/predict", gzip.compress(SEVEN), "Content-Encoding: gzip"),
        ),
        (
            "an image that is not in gzip",
            400,
            request("/predict", SEVEN, "Content-Encoding: gzip"),
        ),
        (
            "an image that is a bomb in gzip",
            413,
            request("/predict", gzip.compress(bytes(50_000_000)), "Content-Encoding: gzip"),
        ),
        (
            "an image in another coding",
            415,
            request("/predict", SEVEN, "Content-Encoding: br"),
        ),
        (
            "an upgrade that is not made",
            200,
            request("/version", b"", "Upgrade: h2c", method="GET"),
        ),
        (
            "a WebSocket, of which there are none",
            200,
            request("/version", b"", "Connection: Upgrade", "Upgrade: websocket", method="GET"),
        ),
    ):
        yield Bent(f"head: {name}", status, content)


def frames() -> Iterator[Bent]:
    """Give bodies in chunks, and lengths that are within bounds or beyond."""
    over = 20 * 1024 * 1024 + 1
    for name, status, content in (
        ("in one chunk", 200, request("/predict", chunked(SEVEN, 9999), CHUNKED)),
        ("in chunks of a byte", 200, request("/predict", chunked(SEVEN, 1), CHUNKED)),
        ("in no chunk", 400, request("/predict", chunked(b"", 1), CHUNKED)),
        ("said to be beyond the limit", 413, request("/predict", b"x", f"Content-Length: {over}")),
        ("that waits to be asked for", 200, request("/predict", SEVEN, "Expect: 100-continue")),
    ):
        yield Bent(f"body {name}", status, content)


def no_http() -> Iterator[Bent]:
    """Give what is refused before it is a request; behind each stands one that is smuggled in."""
    hidden = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"

    def post(*headers: str, body: bytes = b"0\r\n\r\n", line: str = "POST /predict") -> bytes:
        head = "\r\n".join([f"{line} HTTP/1.1", "Host: x", *headers, "", ""])
        return head.encode("latin-1") + body + hidden

    for name, content in {
        "a length and chunks": post("Content-Length: 5", CHUNKED),
        "chunks and a length": post(CHUNKED, "Content-Length: 5"),
        "two lengths": post("Content-Length: 5", "Content-Length: 6"),
        "one length twice": post("Content-Length: 5", "Content-Length: 5"),
        "a list of lengths": post("Content-Length: 5, 5"),
        "a length with a plus": post("Content-Length: +5"),
        "a length below 0": post("Content-Length: -5"),
        "a length in hex": post("Content-Length: 0x5"),
        "no length": post("Content-Length: "),
        "a length of 30 digits": post("Content-Length: " + "9" * 30),
        "chunks that are none": post("Transfer-Encoding: xchunked"),
        "chunks, but not at last": post("Transfer-Encoding: chunked, identity"),
        "chunks twice": post(CHUNKED, CHUNKED),
        "chunks behind a tab": post("Transfer-Encoding:\x0bchunked"),
        "chunks before a space": post("Transfer-Encoding : chunked"),
        "a chunk of no number": post(CHUNKED, body=b"zz\r\nabc\r\n0\r\n\r\n"),
        "a chunk of too many digits": post(CHUNKED, body=b"f" * 18 + b"\r\nabc\r\n0\r\n\r\n"),
        "a chunk below 0": post(CHUNKED, body=b"-1\r\nabc\r\n0\r\n\r\n"),
        "chunks between line feeds": post(CHUNKED, body=b"3\nabc\n0\n\n"),
        "a folded header": post("X-A: a\r\n b"),
        "a header with NUL": post("X-A: a\0b"),
        "a header with a return": post("X-A: a\rb"),
        "a header without a colon": post("X-A"),
        "a header without a name": post(": b"),
        "a header with a space": post("X-A : b"),
        "a header that is not ASCII": post("X-\xe9: b"),
        "a line that is not ASCII": post(line="GET /\xff"),
        "a method in small letters": post(line="get /"),
        "a method that is none": post(line="BREW /predict"),
        "no slash": post(line="GET predict"),
        "a port beyond ports": post(line="GET http://x:99999/"),
        "another version": post(line="GET / HTTP/9.9 "),
        "line feeds alone": hidden.replace(b"\r\n", b"\n"),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(60),
        "noise": np.random.default_rng(3).bytes(500),
    }.items():
        yield Bent(f"no HTTP: {name}", 400, content)
