"""The docs page in a real browser: a digit can be tried without any other tool."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.samples import sample_png

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, server: str):
    """The docs page with the form of `POST /predict` open.

    The page may request nothing from elsewhere, and the browser may log no error.
    """
    page = browser.new_page()
    page.set_default_timeout(120_000)  # ms; Swagger UI takes seconds to open an operation
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: (
            elsewhere.append(request.url)
            if not request.url.startswith((server, "data:", "blob:"))
            else None
        ),
    )
    errors: list[str] = []
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    page.goto(f"{server}/docs")
    operation = page.locator("#operations-Recognise-predict")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    yield page
    page.close()
    assert elsewhere == errors == []


def _execute(page: Page) -> dict:
    operation = page.locator("#operations-Recognise-predict")
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response-col_description code").first
    expect(answer).to_contain_text("probabilities")
    return json.loads(answer.inner_text())


def test_file_chooser_reads_a_digit(page: Page, tmp_path: Path) -> None:
    """Choosing a file and pressing Execute shows the digit in the file."""
    (tmp_path / "nine.png").write_bytes(sample_png(9))
    chooser = page.locator("#operations-Recognise-predict input[type=file]")
    chooser.set_input_files(tmp_path / "nine.png")
    assert _execute(page)["digit"] == 9


def test_example_body_gives_its_answer(page: Page) -> None:
    """The JSON example, sent unchanged, is read rightly."""
    operation = page.locator("#operations-Recognise-predict")
    operation.locator("select[aria-label='Request content type']").select_option("application/json")
    example = operation.locator(".examples-select-element").first
    example.select_option(label="A handwritten 7, as image")
    assert _execute(page)["digit"] == 7


def test_examples_of_other_operations_work(page: Page) -> None:
    """Operations with path parameters and JSON bodies answer to Execute with nothing typed in."""
    for name in (
        "Inspect-ablate",
        "Inspect-get_weights",
        "Models-describe_model",
        "TensorFlow_Serving-tfs_version_predict",
    ):
        operation = page.locator(f"#operations-{name}")
        operation.click()
        operation.get_by_role("button", name="Try it out").click()
        execute = operation.get_by_role("button", name="Execute")
        expect(execute).to_be_visible()
        types = operation.get_by_label("Request content type")
        if types.count() and "multipart/form-data" in types.inner_text():
            types.select_option("application/json")
            # Swagger UI keeps the fields of the form until an example is chosen.
            examples = operation.locator(".examples-select-element").first
            examples.select_option(label="A handwritten 7, as image")
        execute.click()
        status = operation.locator(".live-responses-table tbody .response-col_status").first
        expect(status, name).to_contain_text("200")
