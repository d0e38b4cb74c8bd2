"""The locked requirements: two files that must fit into one environment."""

import re

import pytest

from synthetic import ROOT

LOCKS = ("requirements.lock", "requirements-integration.lock")


def versions(name: str) -> dict[str, set[str]]:
    """Return the versions that a file locks of each package: some differ by Python or platform."""
    found = dict[str, set[str]]()
    for package, version in re.findall(r"^(\S+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def test_what_make_integration_adds_changes_nothing_that_is_there() -> None:
    """`make test` runs with the same versions before and after it; `make lock` sees to that."""
    there, added = map(versions, LOCKS)

    assert "dvc" in there.keys() & added.keys()
    assert {package: added[package] for package in added.keys() & there.keys()} == {
        package: there[package] for package in added.keys() & there.keys()
    }


@pytest.mark.parametrize("name", LOCKS)
def test_each_requirement_has_a_hash_and_no_address(name: str) -> None:
    """The user who installs them decides where packages come from."""
    text = (ROOT / name).read_text()

    assert re.findall(r"^\S+==.*(?<!\\)$", text, re.MULTILINE) == []
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
