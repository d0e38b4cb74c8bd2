"""Text from elsewhere is shown as one harmless line."""

import unicodedata
from pathlib import PurePosixPath as Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toypipe.errors import ToypipeError, printable

ANYTHING = st.text(st.characters(exclude_categories=[]))
"""With lone surrogates, which stand for bytes of a name that are not UTF-8."""
WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


@given(ANYTHING)
def test_nothing_reaches_the_terminal_but_what_is_seen(text: str) -> None:
    """No control character, line break, direction mark or half a character is left."""
    shown = printable(text)

    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in shown)
    assert printable(shown) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="@")))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Letters of any script, digits and signs."""
    assert printable(text) == text


@given(WORDS, st.text("abc:/?#@%!é\t", min_size=1).map(lambda text: f"s3cret{text}s3cret"), WORDS)
def test_the_login_of_a_url_is_never_shown(user: str, password: str, host: str) -> None:
    """Whatever is in the password, also what is against the rules of URLs."""
    shown = printable(f"no answer from https://{user}:{password}@{host}/x, nor from nowhere")

    assert "s3cret" not in shown
    assert shown.startswith("no answer from https://***@")
    assert shown.endswith(f"{host}/x, nor from nowhere")


@pytest.mark.parametrize(
    "text",
    ["https://example.org/a/b?c=d", "me@example.org", "http://[::1]:8080/x", "a:b@c", "C:/a@b"],
)
def test_what_is_no_login_is_shown(text: str) -> None:
    """Addresses of mail, and URLs without a user."""
    assert printable(text) == text


def test_a_url_that_was_taken_for_a_path_shows_no_login() -> None:
    """A path has one slash where the URL had two."""
    assert printable(str(Path("http://me:s3cret@host/x"))) == "http:/***@host/x"


@given(st.lists(ANYTHING, min_size=1, max_size=4))
def test_a_message_has_as_many_lines_as_it_says(lines: list[str]) -> None:
    """Text from elsewhere cannot forge another line, however it breaks one."""
    assert str(ToypipeError(*lines, "end")).splitlines() == [*map(printable, lines), "end"]
