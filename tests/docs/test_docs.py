"""What is written down is true."""

import re
import sys
from pathlib import Path

import pytest
import typer

from stages.cli import app
from synthetic import ROOT

sys.path.insert(0, str(ROOT / "docs"))  # docs/ is a script, not a package

import generate

README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


@pytest.fixture(params=PAGES, ids=lambda path: path.name)
def page(request: pytest.FixtureRequest) -> Path:
    """Return each page in turn."""
    path: Path = request.param
    return path


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_reference_is_what_the_code_says() -> None:
    """docs/reference.md is generated; `make docs` writes it."""
    assert (ROOT / "docs/reference.md").read_text() == generate.reference()


def test_editors_get_the_schema_of_the_code() -> None:
    """docs/params.schema.json is generated; `make docs` writes it."""
    assert (ROOT / "docs/params.schema.json").read_text() == generate.schema()


def test_the_route_leads_past_every_file_of_the_lesson() -> None:
    """Each file of the lesson is on the README's route, with its length to some ten lines."""
    rows = {name: int(lines) for name, lines, _ in generate.ROW.findall(README)}
    right = generate.ROUTE.search(generate.route(README))
    assert right is not None

    assert rows == pytest.approx(generate.lesson(), abs=12), f"`make docs` writes:\n{right[0]}"


def test_make_docs_keeps_the_route_true() -> None:
    """It drops a row without a file, adds a row for a new file, and counts the lines."""
    first, *_, last = generate.ROW.finditer(README)
    wrong = README.replace(first[0], "| `toypipe/data/gone.py` | 7 | gone |")
    wrong = wrong.replace(last[0], f"| `{last[1]}` | 990 | {last[3]} |")
    rows = {name: int(lines) for name, lines, _ in generate.ROW.findall(generate.route(wrong))}

    assert rows == pytest.approx(generate.lesson(), abs=5)


@pytest.mark.parametrize("package", ["params", "compute", "pipeline", "commands"])
def test_the_machinery_is_named_package_by_package(package: str) -> None:
    """The README names each module on the line of its package, so that nobody has to search."""
    line = re.search(rf"^\| `toypipe/{package}/` \| (.+) \|$", README, re.MULTILINE)
    modules = {path.stem for path in (ROOT / "toypipe" / package).glob("[!_.]*")}
    assert line is not None

    assert modules - set(re.findall(r"`(\w+)`", line[1])) == set()


def test_the_readme_is_read_in_ten_minutes() -> None:
    """It has at most 250 lines, and the words that are read in ten minutes, tables included."""
    assert len(README.splitlines()) <= 250
    assert len(README.split()) <= 2500


def test_every_command_is_in_the_readme() -> None:
    """A reader of the README alone knows all commands."""
    commands: set[str] = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

    assert commands - set(re.findall(r"`toypipe ([a-z-]+)", README)) == set()


def test_every_page_is_reached_from_the_readme() -> None:
    """A page that nothing links to is never read."""
    linked = set(re.findall(r"\]\(([\w./-]+\.md)", README))

    assert {page.relative_to(ROOT).as_posix() for page in PAGES} - linked == {"README.md"}


def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that exists, and a heading that is in it."""
    for link, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        if link.startswith("http"):
            continue
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


def test_every_file_named_exists(page: Path) -> None:
    """A path in the text or in a command is in the repository, or the page writes it.

    What is in data/ and .toypipe/ is made.
    """
    folders, text = "benchmarks|docs|recipes|stages|tests|toypipe", page.read_text()
    named = set(re.findall(rf"(?<=[` ])(?:{folders})/[\w./-]*\w", text))
    named -= set(re.findall(r"^cat > (\S+)", text, re.MULTILINE))

    assert [path for path in named if not (ROOT / path).exists() and "NAME" not in path] == []
