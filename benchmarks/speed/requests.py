"""Cases of small images and tensors: CPU time of a request under load."""

from pathlib import Path

from benchmarks.load import DIGIT, form_body
from benchmarks.services import (
    BARE,
    BARE_LOGGED,
    FLOOR,
    KSERVE,
    MLSERVER,
    PYTRITON,
    Service,
    digitscope,
)
from benchmarks.speed.contest import Case, Goal, Line
from benchmarks.speed.subjects import CPU, asked, repeated, under_load

MANY = 256  # PNGs in a form


def request_cases(folder: Path) -> dict[str, Case]:
    """Return the cases; they need no files of `folder` but the digit that they write there."""
    return {
        "png-16": _loaded("PNG, 16 connections", "PNG", Goal(1.1, BARE.name), BARE, BARE_LOGGED),
        "png-1": _loaded("PNG, 1 connection", "PNG", Goal(1.25, BARE.name), BARE, connections=1),
        "png-64": _loaded(
            "PNG, 64 connections", "PNG", Goal(1.05, BARE.name), BARE, connections=64
        ),
        "form": _loaded("form", "form", Goal(0.75, FLOOR.name), FLOOR),
        "v2-json": _loaded(
            "`/v2`, JSON tensor",
            "V2 JSON",
            Goal(0.8, PYTRITON.name),
            PYTRITON,
            MLSERVER,
            KSERVE,
            BARE,
        ),
        "v2-binary": _loaded(
            "`/v2`, binary tensor", "V2 binary", Goal(0.7, PYTRITON.name), PYTRITON, KSERVE, BARE
        ),
        "v1-json": _loaded("`/v1`, JSON", "V1 JSON", Goal(0.5, KSERVE.name), KSERVE, BARE),
        "form-256": _many(folder),
    }


def _loaded(title: str, kind: str, goal: Goal, *references: Service, connections: int = 16) -> Case:
    return Case(
        (Line(title, CPU, "us", goal),),
        lambda checkout: under_load(digitscope(checkout), kind, connections),
        [under_load(reference, kind, connections) for reference in references],
    )


def _many(folder: Path) -> Case:
    body, name = form_body("files", MANY), "Pillow + LiteRT"
    return Case(
        (Line(f"{MANY} PNGs in a form, each", CPU, "us", Goal(1.5, name)),),
        lambda checkout: asked(
            digitscope(checkout),
            "/predict/batch",
            body,
            f'"digit":{DIGIT}',
            count=60,
            per=MANY,
            scale=1e6,
        ),
        [repeated(name, "many.py", folder / "digit.png", MANY, count=60, per=MANY, scale=1e6)],
    )
