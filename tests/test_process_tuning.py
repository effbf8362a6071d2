"""Tuning of the process before NumPy is imported."""

from pathlib import Path

import pytest

from app.process_tuning import choose_blas_kernels

AVX512 = "avx512f avx512dq avx512cd avx512bw avx512vl"
CORE = "processor\t: {}\nvendor_id\t: {}\nmodel name\t: A core: 3 GHz\nflags\t\t: fpu sse2 {}\n\n"


@pytest.mark.parametrize(
    ("vendor", "flags", "before", "after"),
    [
        ("AuthenticAMD", AVX512, {}, "SkylakeX"),
        ("AuthenticAMD", AVX512, {"OPENBLAS_CORETYPE": "Zen"}, "Zen"),
        ("AuthenticAMD", "avx2 avx512f", {}, None),
        ("GenuineIntel", AVX512, {}, None),
    ],
)
def test_avx512_is_chosen_on_amd_unless_the_environment_chooses(
    tmp_path: Path, vendor: str, flags: str, before: dict[str, str], after: str | None
) -> None:
    """Only an AMD processor with all instructions of the kernels gets them."""
    path, environment = tmp_path / "cpuinfo", dict(before)
    path.write_text("".join(CORE.format(core, vendor, flags) for core in range(64)))
    choose_blas_kernels(environment, path)
    assert environment.get("OPENBLAS_CORETYPE") == after


def test_a_system_without_the_file_chooses_by_itself(tmp_path: Path) -> None:
    """Nothing happens where Linux does not describe the processor."""
    environment: dict[str, str] = {}
    choose_blas_kernels(environment, tmp_path / "cpuinfo")
    assert environment == {}
