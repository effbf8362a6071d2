"""The generated code is that of inference.proto."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.protocols.grpc import inference_pb2 as pb
from app.settings import REPOSITORY

FOLDER = REPOSITORY / "app" / "protocols" / "grpc"


def test_generated_code_is_current(tmp_path: Path) -> None:
    """The command in inference.proto makes the committed files."""
    command = re.search(
        r"python -m grpc_tools.protoc (.*)", (FOLDER / "inference.proto").read_text()
    )
    arguments = command[1].replace("=app/protocols/grpc", f"={tmp_path}").split()
    arguments = [argument.replace("-Iapp", f"-I{REPOSITORY}/app") for argument in arguments]
    # In a process of its own: protoc and TensorFlow do not run in the same one.
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)
    for name in ("inference_pb2.py", "inference_pb2.pyi"):
        assert (tmp_path / name).read_text() == (FOLDER / name).read_text(), name


@pytest.mark.parametrize(
    ("message", "number"), [("ModelInferRequest", 7), ("ModelInferResponse", 6)]
)
def test_raw_contents_have_the_numbers_of_the_protocol(message: str, number: int) -> None:
    """Raw contents are the last field of both messages."""
    fields = getattr(pb, message).DESCRIPTOR.fields
    assert fields[-1].number == number == max(field.number for field in fields)
    assert fields[-1].name in ("raw_input_contents", "raw_output_contents")
