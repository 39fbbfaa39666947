"""Text of others is stored as far as a database takes it, and shown without what reorders it."""

import io
from contextlib import redirect_stdout

import pytest

from aidsafe_dagster.cli.console import print_plain, print_problem
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.foreign_text import storable, without_bidi_controls
from aidsafe_dagster.recipe.markdown import block_quote, escape_inline
from aidsafe_dagster.recipe.records import Failure, FailureReason
from tests.engines.driving import a_task

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HOSTILE = f"a{BIDI}b"


def printed(text: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        print_plain(text)
        print_problem("Error", text)
    return out.getvalue()


def message(text: str) -> str:
    return str(SetupError(text))


@pytest.mark.parametrize(
    "shown",
    [without_bidi_controls, escape_inline, block_quote, printed, message],
)
def test_what_is_shown_holds_no_bidirectional_control(shown: object) -> None:
    assert callable(shown)
    text = shown(HOSTILE)
    assert "ab" in text
    assert not set(BIDI) & set(text)


def test_letters_keep_their_own_direction() -> None:
    assert without_bidi_controls("שלום, مرحبا") == "שלום, مرحبا"


def test_what_is_stored_keeps_all_that_a_database_takes() -> None:
    assert storable(HOSTILE) == HOSTILE
    assert storable("a\ud800\0") == "a?\ufffd"


def test_a_lone_surrogate_in_a_server_s_words_does_not_keep_a_batch_from_being_stored() -> (
    None
):
    conversation = a_task(1).conversation
    reason = FailureReason.ENGINE_ERROR
    failure = conversation.failure(reason, "HTTP 400: \ud800\0", redraw=False)
    assert to_frame([failure], Failure)["detail"].to_list() == ["HTTP 400: ?\ufffd"]


def test_a_lone_surrogate_does_not_end_a_command() -> None:
    assert "a?b" in printed("a\ud800b")
