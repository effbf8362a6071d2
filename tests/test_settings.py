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


NUMBERS = [
    name for name, field in Settings.model_fields.items() if field.annotation in (int, float)
]


@pytest.mark.parametrize("value", ["1" + "0" * 24, "inf", "nan", "-1"])
@pytest.mark.parametrize("name", NUMBERS)
def test_absurd_number_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """No numeric setting takes a number that would let every request fail, or nothing ever end."""
    monkeypatch.setenv(f"DIGITSCOPE_{name.upper()}", value)
    result = CliRunner().invoke(command, ["settings"])
    assert result.exit_code == 2
    assert f"The setting DIGITSCOPE_{name.upper()} is invalid" in result.stderr
    assert f"The value is '{value}'" in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HOST", "", "it is set but empty"),
        ("HOST", "  ", "it is set but empty"),
        ("RATE_LIMIT_PER_S", "1e-300", "expected 0 (no limit) or at least 0.001"),
    ],
)
def test_value_with_another_meaning_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """An empty host would listen on every address, a tiny rate would refuse all requests."""
    monkeypatch.setenv(f"DIGITSCOPE_{name}", value)
    result = CliRunner().invoke(command, ["serve"])
    assert result.exit_code == 2
    assert f"The setting DIGITSCOPE_{name} is invalid: {message}" in result.stderr


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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("API_KEYS", "", "contains no key"),
        ("API_KEYS", " , ", "contains no key"),
        ("API_KEYS", "\t,\n", "contains no key"),
        ("API_KEYS", "s3cret-one, s3cret\x01two", "key 2 of 2 has characters"),
        ("API_KEYS", "s3cret-schlüssel", "key 1 of 1 has characters"),
        ("API_KEYS", "s3cret-one,s3cret-two,s3cret-one", "key 3 of 3 equals key 1"),
        ("API_KEYS", "s3cret\nother", "key 1 of 1 has characters"),
        ("ADMIN_TOKEN", "", "contains no key"),
        ("ADMIN_TOKEN", "          ", "contains no key"),
        ("ADMIN_TOKEN", "  s3cret   ", "less than 8 characters"),
        ("ADMIN_TOKEN", "s3cret-schlüssel", "has characters that no header can carry"),
    ],
)
def test_key_that_cannot_work_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """A key setting without a usable key stops the start; the message does not show the key."""
    monkeypatch.setenv(f"DIGITSCOPE_{name}", value)
    result = CliRunner().invoke(command, ["serve"])
    assert result.exit_code == 2
    assert f"DIGITSCOPE_{name}" in result.stderr
    assert message in result.stderr
    assert "s3cret" not in result.stderr
    with pytest.raises(ValidationError) as error:
        Settings()
    assert "s3cret" not in str(error.value)  # other programs would log it


def test_api_key_is_not_the_admin_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """If an API key equalled the admin token, every client could reload models."""
    monkeypatch.setenv("DIGITSCOPE_API_KEYS", "first-key,second-key")
    monkeypatch.setenv("DIGITSCOPE_ADMIN_TOKEN", "second-key")
    result = CliRunner().invoke(command, ["serve"])
    assert result.exit_code == 2
    assert "DIGITSCOPE_ADMIN_TOKEN" in result.stderr
    assert "second-key" not in result.stderr


def test_spaces_around_a_key_are_not_part_of_it() -> None:
    """A file with a key often ends with a line break, which no client can send."""
    assert Settings(admin_token=" the admin token\n").admin_token == "the admin token"
