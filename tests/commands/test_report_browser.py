"""The pages in a real browser, without a network."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from conftest import Project
from synthetic import finish_run
from toypipe.commands.report import page as report

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"there is no browser: {', '.join(NAMES)}")

BROKEN = "[...document.images].filter(image => image.naturalWidth === 0).length"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a headless browser that the system has."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report that compares a run with an earlier commit."""
    root = tmp_path_factory.mktemp("report")
    finish_run(root)
    for command in (["init"], ["add", "data/reports", "params.yaml"], ["commit", "-m", "A run"]):
        subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        report.run("HEAD")
    return root / report.PAGE


@contextmanager
def opened(
    browser: Browser, path: Path, scheme: Literal["light", "dark"] = "light", width: int = 1100
) -> Iterator[Page]:
    """Open a page without a network; at the end, no error and no request may have occurred."""
    context = browser.new_context(
        offline=True, color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    page, problems = context.new_page(), list[str]()
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.goto(path.as_uri())
    yield page
    context.close()

    assert problems == []


@pytest.mark.parametrize("width", [390, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_whole(
    browser: Browser, report_page: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    """In both themes, on a phone and on a desktop: everything is drawn and fits the width."""
    with opened(browser, report_page, scheme, width) as page:
        page.wait_for_function("document.querySelectorAll('.chart svg').length === 2")

        assert "accuracy: toypipe report" in page.title()
        for chart in page.locator(".chart svg").all():
            assert chart.locator("path[stroke^=var]").count() >= 2
            box = chart.bounding_box()
            assert box is not None
            assert 300 < box["width"] <= width
        assert page.evaluate(BROKEN) == 0
        assert page.locator(".mistakes img").count() > 0
        assert page.locator(".matrix td").count() == 9
        assert page.evaluate(OVERFLOW) == 0
        dark = page.evaluate(BACKGROUND) == "rgb(13, 17, 23)"
        assert dark is (scheme == "dark")


CONTRAST = """() => {
    const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number)
        .map(v => colour.startsWith("color") ? v : v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    return [...document.querySelectorAll(".matrix td")].map(cell => {
        cell.style.setProperty("--s", 1);
        const style = getComputedStyle(cell);
        const [a, b] = [light(style.color), light(style.backgroundColor)].sort((a, b) => a - b);
        return (b + 0.05) / (a + 0.05);
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_are_readable_on_the_deepest_colours(
    browser: Browser, report_page: Path, scheme: Literal["light", "dark"]
) -> None:
    """The contrast of each cell of the matrix is what WCAG 2 asks of small text: 4.5."""
    with opened(browser, report_page, scheme) as page:
        contrasts = page.evaluate(CONTRAST)

        assert len(contrasts) == 9
        assert min(contrasts) >= 4.5


def test_paper_is_white(browser: Browser, report_page: Path) -> None:
    """Printed from a dark screen, the page is light."""
    with opened(browser, report_page, "dark") as page:
        page.emulate_media(media="print", color_scheme="dark")

        assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)"


def test_hovering_shows_the_values(browser: Browser, report_page: Path) -> None:
    """They are those of the nearest epoch, of both runs."""
    with opened(browser, report_page) as page:
        chart = page.locator("#chart0 svg")
        chart.hover(position={"x": 100, "y": 120})
        page.mouse.move(0, 0)
        chart.hover(position={"x": 110, "y": 120})
        text = page.locator("#vg-tooltip-element.visible").inner_text()

        assert "training, this run" in text
        assert "2.0000" in text
        assert "validation, HEAD" in text


def test_dvc_plots_show_needs_no_network(browser: Browser, project: Project) -> None:
    """After `toypipe plots-page`, DVC's page draws every chart and every image."""
    project.run("python", "-m", "stages", "plots-page")
    project.run("dvc", "plots", "show")

    assert project.run("git", "status", "--porcelain") == ""
    with opened(browser, project.path / "dvc_plots/index.html") as page:
        page.wait_for_function(
            "document.querySelectorAll('.vega-embed canvas, .vega-embed svg.marks').length === 4"
        )
        assert page.locator("img").count() == 2
        assert page.evaluate(BROKEN) == 0
