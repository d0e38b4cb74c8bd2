"""The page of trainings in a real browser, without a network."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from test_report_browser import BACKGROUND, CHROMIUM, OVERFLOW
from test_watch import free_port, make_run

from synthetic import ROOT
from toypipe.commands.watch.server import listen
from toypipe.data.files import json_bytes
from toypipe.pipeline.resume import RunFolder, claimed
from toypipe.training.state import Epoch, loss_table

expect.set_options(timeout=20_000)  # the page paces itself by what it costs

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a headless browser that the system has."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the runs of an empty folder."""
    monkeypatch.chdir(tmp_path)
    with listen(0) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def opened(
    browser: Browser, address: str, scheme: Literal["light", "dark"] = "light", width: int = 1100
) -> Iterator[Page]:
    """Open the page; no error, and no request to anybody else, may have occurred at the end."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page, problems = context.new_page(), list[str]()
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:")) else problems.append(r.url),
    )
    page.goto(address)
    yield page
    context.close()

    assert problems == []


@contextmanager
def under_way(number: int) -> Iterator[RunFolder]:
    """Return the folder of a training that this process runs, after two epochs and a half."""
    with claimed({"number": number, "params": {"epochs": 9, "loss": "mse"}}, {}) as folder:
        folder.write("loss.csv", loss_table([_row(1), _row(2)]))
        _progress(folder, 2.5)
        folder.log("<b>begun</b>")
        yield folder


def _row(epoch: int) -> Epoch:
    return Epoch(epoch, 2.0 / epoch, 2.1 / epoch, epoch / 10, 0.1)


def _progress(folder: RunFolder, epoch: float) -> None:
    losses = [(int(epoch) + 0.1, 0.9), (epoch, 0.8)]
    values = {"epoch": epoch, "images_per_second": 1234.5, "seconds_left": 100, "losses": losses}
    folder.write("progress.json", json_bytes(values))


SCALES = """[...document.querySelectorAll('.chart svg')].map(
    svg => svg.getBoundingClientRect().width / svg.width.baseVal.value)"""  # shown over drawn


def test_an_empty_page_says_what_to_do(browser: Browser, address: str) -> None:
    """Where nothing has run, it names the commands; what then starts appears."""
    with opened(browser, address) as page:
        expect(page.locator("#none")).to_contain_text("dvc queue start")
        with under_way(1):
            expect(page.locator("article")).to_have_count(1)
            expect(page.locator("#none")).to_be_hidden()


@pytest.mark.parametrize("width", [390, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_training_is_seen_to_grow(
    browser: Browser, address: str, scheme: Literal["light", "dark"], width: int
) -> None:
    """In both themes, on a phone and on a desktop, without reloading the page."""
    make_run(2, finished=True)
    with under_way(1) as folder, opened(browser, address, scheme, width) as page:
        article = page.locator("#running article")
        expect(article.locator(".figures")).to_have_text(
            "epoch 2.5 of 9 · 1,235 images/s · about 2 min left"
        )
        expect(article.locator(".chart svg")).to_have_count(2)
        expect(article.locator("figcaption").first).to_contain_text("went from 2.0000 to 1.0000")
        expect(article.locator(".legend-label, [role=graphics-symbol]").first).to_be_attached()
        expect(article.locator("pre")).to_contain_text("<b>begun</b>")
        assert page.evaluate(OVERFLOW) == 0
        assert page.evaluate(SCALES) == pytest.approx([1, 1], abs=0.01)
        assert (page.evaluate(BACKGROUND) == "rgb(13, 17, 23)") is (scheme == "dark")
        line = article.locator(".chart svg path[aria-roledescription='line mark']").first
        before = line.get_attribute("d")
        folder.write("loss.csv", loss_table([_row(1), _row(2), _row(3)]))
        _progress(folder, 3.25)
        expect(article.locator(".figures")).to_contain_text("epoch 3.25 of 9")
        expect(article.locator("figcaption").first).to_contain_text("went from 2.0000 to 0.6667")
        label = re.compile("went from 2.0000 to 0.6667")
        drawn = article.locator(".chart [role=graphics-document]")
        expect(drawn.first).to_have_attribute("aria-label", label)
        assert line.get_attribute("d") != before
        expect(article.locator(".chart svg")).to_have_count(2)
        assert page.title() == "1 under way: toypipe watch"


def test_what_ends_moves_to_the_others(browser: Browser, address: str) -> None:
    """Its article stays as it was, opened or not."""
    with opened(browser, address) as page:
        with under_way(1) as folder:
            expect(page.locator("#running .state")).to_have_text("running")
            folder.note(finished=True)
        expect(page.locator("#over .state")).to_have_text("finished")
        expect(page.locator("#running")).to_be_hidden()


def test_two_are_drawn_over_each_other_by_the_keyboard(browser: Browser, address: str) -> None:
    """Tab leads to each box and each curve; Space chooses and opens."""
    names = [make_run(number, finished=True).name[:6] for number in (1, 2)]
    with opened(browser, address) as page:
        expect(page.locator("article")).to_have_count(2)
        boxes = page.get_by_role("checkbox")
        page.keyboard.press("Tab")
        expect(boxes.first).to_be_focused()
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")  # opens the first
        expect(page.locator("article .chart svg")).to_have_count(2)
        for _ in range(2):
            page.keyboard.press("Tab")
        expect(boxes.nth(1)).to_be_focused()
        page.keyboard.press("Space")
        expect(page.locator("#compared .chart svg")).to_have_count(2)
        caption = page.locator("#compared figcaption").first
        for name in names:
            expect(caption).to_contain_text(f"{name}: The mean train loss")
            expect(page.get_by_role("checkbox", name=f"compare {name}")).to_be_checked()
        boxes.first.uncheck()
        expect(page.locator("#compared")).to_be_hidden()


def test_every_chart_and_bar_has_a_text(browser: Browser, address: str) -> None:
    """For those who cannot see them: a description, a caption, a name."""
    with under_way(1) as folder, opened(browser, address) as page:
        bar = page.get_by_role("progressbar", name=f"progress of {folder.path.name[:6]}")
        expect(bar).to_be_visible()
        drawn = page.locator(".chart [role=graphics-document]")
        expect(drawn).to_have_count(2)
        for chart in drawn.all():
            expect(chart).to_have_attribute("aria-label", re.compile("over the epochs"))


CONTRAST = """() => {
    const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const paper = light(getComputedStyle(document.body).backgroundColor) + 0.05;
    return [...document.querySelectorAll(".state, .figures, .changes, .name, #summary")].map(e => {
        const ink = light(getComputedStyle(e).color) + 0.05;
        return Math.max(ink, paper) / Math.min(ink, paper);
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_is_readable(
    browser: Browser, address: str, scheme: Literal["light", "dark"]
) -> None:
    """The contrast is what WCAG 2 asks of small text: 4.5."""
    make_run(2, finished=True)
    make_run(3)
    with under_way(1), opened(browser, address, scheme) as page:
        expect(page.locator("article")).to_have_count(3)

        assert min(page.evaluate(CONTRAST)) >= 4.5


def test_hundreds_of_runs_are_there_in_a_second(browser: Browser, address: str) -> None:
    """Their curves are drawn when somebody opens them."""
    for number in range(200):
        make_run(number, finished=True)
    with opened(browser, address) as page:
        expect(page.locator("article")).to_have_count(200)
        entries = "performance.getEntriesByType('resource')"
        took = page.evaluate(f"{entries}.find(e => e.name.includes('runs')).responseEnd")

        assert took < 2000  # on a machine that does much else; alone it is half a second
        assert page.locator(".chart svg").count() == 0


@contextmanager
def served(port: int) -> Iterator[None]:
    """Serve the page from a process of its own, which is killed at the end."""
    command = [sys.executable, "-m", "stages", "watch", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


def test_the_page_waits_for_a_server_that_ended(browser: Browser) -> None:
    """It says so, and goes on when one is there again."""
    port = free_port()
    with browser.new_context() as context:
        page = context.new_page()
        with served(port):
            page.goto(f"http://127.0.0.1:{port}/")
            expect(page.locator("#summary")).to_contain_text("under way")
            expect(page.locator("#lost")).to_be_hidden()
        expect(page.locator("#lost")).to_be_visible(timeout=10_000)
        with served(port):
            expect(page.locator("#lost")).to_be_hidden(timeout=10_000)
