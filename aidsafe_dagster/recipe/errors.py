"""How the recipe says that something is wrong.

There are two kinds, and they never mix. A `SetupError` is a person's mistake (a wrong policy file, an unknown column,
an engine that does not exist): it is raised at once, names the file and the place, and lists the valid choices. A
`RowFailed` is one row's bad luck (an answer that does not parse, a refusal): the driver turns it into a `Failure`
record, and the other rows never notice.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from aidsafe_dagster.recipe.records import FailureReason
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets


class SetupError(Exception):
    """A mistake in what a person wrote or configured. The message is meant to be read by that person.

    A password in a URL does not become part of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(mask_url_secrets(message))


class RowFailed(Exception):
    """Ends one dialogue; caught by the driver, never seen by a user as an exception."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def not_installed(error: ImportError, where: str, extra: str) -> SetupError:
    """A `SetupError` for a library that comes with an extra of this package."""
    return SetupError(f"{where}: {error}; install what it needs: pip install '.[{extra}]'")


def unknown(what: str, name: str, choices: Iterable[str], where: str) -> SetupError:
    """A `SetupError` for a name that does not exist, with the nearest valid one first."""
    valid = sorted(choices)
    near = get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return SetupError(
        f"{where}: unknown {what} '{name}'.{hint} Valid: {', '.join(valid) or '(none)'}"
    )
