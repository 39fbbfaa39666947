"""The error model: a bad row is data, a bad set-up stops the run.

`RowFailed` is one row's trouble: an answer that does not parse, a refusal to work on the prompt, a
pair without contrast. A dialogue raises it, the driver turns it into a `Failure` record, and the
other rows never notice. Failures are data: stored beside the rows of their partition, counted in
its metadata, shown to people, and retried by the next run, which draws new answers from the call
that failed.

`SetupError` is a person's mistake: a broken policy file, an unknown setting, an engine that does
not exist. No row could survive it, so it stops the run at once. Its message names the file and the
place, lists the valid choices and says how to mend it.

`StoreUnavailable` is nobody's mistake: the object store of the lake is away. It stops the run, and
is no `SetupError`, because whoever goes on without a damaged file must not go on without one that
cannot be reached.

Retries of calls are the driver's business: it resends the same request with backoff while a model
server is busy or away. The recipe has a single retry of its own. `Conversation.ask` puts a task to
the model again, with the parser's message, when the answer is not valid, because only the dialogue
knows what a valid answer is. Any other exception is a defect of this program. The driver logs its
traceback and fails that row alone with `internal_error`.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from aidsafe_dagster.recipe.foreign_text import without_bidi_controls
from aidsafe_dagster.recipe.records import FailureReason
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets


class SetupError(Exception):
    """A mistake in what a person wrote or configured. The message is written for that person.

    Passwords and keys in URLs are masked in the message.
    """

    def __init__(self, message: str) -> None:
        # Messages quote settings and the text of other programs, either of which may hold a URL.
        super().__init__(without_bidi_controls(mask_url_secrets(message)))


class EngineUnusable(SetupError):
    """No call can succeed, whatever the row or the batch.

    A wrong key, no such model, no credit, a parameter that the server refuses, or a server that
    stays away.
    """


class StoreUnavailable(Exception):
    """The object store of the lake fails for too long, or refuses access.

    Passwords and keys in URLs are masked in the message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_bidi_controls(mask_url_secrets(message)))


class RowFailed(Exception):
    """Ends one dialogue. The driver catches it, so no user ever sees it as an exception.

    `redraw` says whether a later run is to draw other answers, since the same ones would only fail
    again. What is decided about sound answers stays as it is.
    """

    def __init__(
        self, reason: FailureReason, detail: str, *, redraw: bool = True
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.redraw = redraw


def not_installed(error: ImportError, where: str, extra: str) -> SetupError:
    """Return a `SetupError` for a library that comes with an extra of this package."""
    return SetupError(
        f"{where}: {error}; install what it needs: pip install '.[{extra}]'"
    )


def unknown(what: str, name: str, choices: Iterable[str], where: str) -> SetupError:
    """Return a `SetupError` for a name that does not exist. It suggests the nearest valid name."""
    valid = sorted(choices)
    message = f"{where}: unknown {what} '{name}'."
    by_letters = {choice.casefold(): choice for choice in reversed(valid)}
    nearest = get_close_matches(name.casefold(), by_letters, n=1, cutoff=0.5)
    if nearest:
        message += f" Did you mean '{by_letters[nearest[0]]}'?"
    listing = ", ".join(valid) or "(none)"
    return SetupError(f"{message} Valid: {listing}")
