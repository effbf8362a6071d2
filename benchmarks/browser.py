"""Measure the web page in a real browser, or take the screenshots of the README.

python -m benchmarks.browser              # first view, painting of the map, frame times
python -m benchmarks.browser --pictures   # docs/images/page-*.png in both sizes, light and dark

Needs Chromium (Debian: apt-get install chromium). The service runs in this process on a free port.
"""

import argparse
import shutil
import statistics
from itertools import pairwise

from playwright.sync_api import Browser, Page, sync_playwright

from app.settings import REPOSITORY, Settings
from tests.browser.conftest import SIZES, Running
from tests.browser.hand import draw_by_mouse, expect_digit, open_place

IMAGES = REPOSITORY / "docs" / "images"
RUNS = 7
FRAMES = """() => new Promise((resolve) => {
  const times = [];
  const next = (now) => {
    times.push(now);
    if (window.stopped) resolve(times);
    else requestAnimationFrame(next);
  };
  window.stopped = false;
  requestAnimationFrame(next);
})"""


def main() -> None:
    """Measure, or draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", action="store_true")
    running = Running(Settings())
    running.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            if parser.parse_args().pictures:
                draw_pictures(browser, running.address)
            else:
                measure(browser, running.address)
            browser.close()
    finally:
        running.stop()


def measure(browser: Browser, address: str) -> None:
    """Print the median and the largest of each figure over several fresh browser windows."""
    for size, options in SIZES.items():
        figures: dict[str, list[float]] = {}
        for _ in range(RUNS):
            context = browser.new_context(**options)
            page = context.new_page()
            for name, value in _figures(page, address).items():
                figures.setdefault(name, []).append(value)
            context.close()
        for name, values in figures.items():
            print(f"{size:6} {name:40} {statistics.median(values):8.1f} {max(values):8.1f}")


def _figures(page: Page, address: str) -> dict[str, float]:
    page.goto(f"{address}/")
    page.wait_for_selector("#answer[data-digit]")
    usable = page.evaluate("performance.now()")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    ready = page.evaluate("performance.getEntriesByName('surface-ready')[0].startTime")
    page.evaluate(f"void (window.frames_seen = ({FRAMES})())")
    draw_by_mouse(page, [(0.2 + 0.006 * at, 0.3 + 0.2 * (at % 2)) for at in range(100)])
    page.evaluate("window.stopped = true")
    times = page.evaluate("window.frames_seen")
    gaps = [after - before for before, after in pairwise(times)]
    paintings = page.evaluate(
        "performance.getEntriesByName('map-painted', 'measure').map(({ duration }) => duration)"
    )
    return {
        "first paint, ms": paint,
        "surface takes strokes, ms": ready,
        "first answer on the page, ms": usable,
        "frames in a second while drawing": 1000 / statistics.mean(gaps),
        "longest frame while drawing, ms": max(gaps),
        "paintings of the map while drawing": float(len(paintings)),
        "painting of the map, ms": statistics.median(paintings),
    }


def draw_pictures(browser: Browser, address: str) -> None:
    """Save the first view and an opened number, at both sizes, light and dark."""
    IMAGES.mkdir(exist_ok=True)
    sizes = {"desk": {"viewport": {"width": 1440, "height": 900}}, "phone": SIZES["phone"]}
    for size, options in sizes.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(**options, color_scheme=scheme, reduced_motion="reduce")
            page = context.new_page()
            page.goto(f"{address}/")
            page.wait_for_selector("html[data-ready]")
            expect_digit(page, 7)
            page.wait_for_timeout(500)  # fonts and pictures
            end = "" if scheme == "light" else "-dark"
            page.screenshot(path=IMAGES / f"page-{size}{end}.png")
            open_place(page, "relu_2:4:1,1")
            page.locator(".number-view").wait_for()
            page.locator("#map-lit .veil").first.wait_for()
            page.wait_for_timeout(300)
            page.screenshot(path=IMAGES / f"page-{size}-number{end}.png")
            context.close()


if __name__ == "__main__":
    main()
