"""The settings: from the environment, immutable, described and printed."""

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from app.settings import Settings
from digitscope import command


def test_environment_sets_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable DIGITSCOPE_* changes its setting."""
    monkeypatch.setenv("DIGITSCOPE_MAX_BODY_BYTES", "4096")
    assert Settings().max_body_bytes == 4096


def test_settings_are_immutable() -> None:
    """A setting cannot be changed after it was read."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_has_a_description() -> None:
    """Each setting has a description of at least 30 characters."""
    short = [n for n, field in Settings.model_fields.items() if len(field.description or "") < 30]
    assert short == []


def test_command_prints_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """`digitscope settings` lists each variable with its current value."""
    monkeypatch.setenv("DIGITSCOPE_PORT", "8123")
    monkeypatch.setenv("COLUMNS", "200")
    printed = CliRunner().invoke(command, ["settings"]).output
    for name in Settings.model_fields:
        assert f"DIGITSCOPE_{name.upper()}" in printed
    assert "8123" in printed


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "eighty"), ("MAX_PIXELS", "5"), ("LOG_LEVEL", "loud")]
)
def test_wrong_setting_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """An invalid value ends the program with a message that names the variable and the value."""
    monkeypatch.setenv(f"DIGITSCOPE_{name}", value)
    result = CliRunner().invoke(command, ["serve"])
    assert result.exit_code == 2
    assert f"DIGITSCOPE_{name}" in result.stderr
    assert value in result.stderr


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("*", "neither an address nor a network"),
        ("localhost", "neither an address nor a network"),
        ("10.0.0.1, nginx", "'nginx' is neither"),
        ("10.0.0.0/40", "neither"),
        ("10.1.2.3/8", "the network is 10.0.0.0/8"),
    ],
)
def test_proxies_must_be_addresses_or_networks(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    """A name, a pattern or half a network stops the start with what was expected."""
    monkeypatch.setenv("DIGITSCOPE_TRUSTED_PROXIES", value)
    result = CliRunner().invoke(command, ["settings"])
    assert result.exit_code == 2
    assert "DIGITSCOPE_TRUSTED_PROXIES" in result.stderr
    assert message in result.stderr
    assert "Value error" not in result.stderr
