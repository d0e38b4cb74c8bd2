"""What is written down is true."""

import re
import sys

import pytest

from synthetic import ROOT

sys.path.insert(0, str(ROOT / "docs"))  # docs/ is a script, not a package

import generate

README = (ROOT / "README.md").read_text()


def test_the_reference_is_what_the_code_says() -> None:
    """docs/reference.md is generated; `make docs` writes it anew."""
    assert (ROOT / "docs/reference.md").read_text() == generate.reference()


def test_editors_get_the_schema_of_the_code() -> None:
    """docs/params.schema.json is generated; `make docs` writes it anew."""
    assert (ROOT / "docs/params.schema.json").read_text() == generate.schema()


def test_the_route_leads_past_every_module() -> None:
    """Each file of the source is on the README's map, with its length to some ten lines."""
    rows = dict(re.findall(r"^\| `((?:toypipe|stages)/\w+\.py)` \| (\d+) \|", README, re.MULTILINE))
    files = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for folder in ("toypipe", "stages")
        for path in (ROOT / folder).glob("*.py")
        if path.name != "__init__.py"
    }

    assert rows.keys() == files.keys()
    for name, lines in files.items():
        assert int(rows[name]) == pytest.approx(lines, abs=12), name


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "docs/reference.md", "docs/scaling.md"]
)
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link names a file that exists."""
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())

    for link in links:
        assert link.startswith("http") or (path.parent / link).exists(), link


def test_every_make_target_named_exists() -> None:
    """The README and CONTRIBUTING name no command that make does not know."""
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text()))

    assert named <= known
