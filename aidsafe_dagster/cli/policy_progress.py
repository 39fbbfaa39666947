"""What a person sees while the policy editor is asked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.policy_work.asking import OnPoll, PolicyEditor
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failure_lines import mask_secrets


@contextmanager
def waiting(settings: Settings, words: str) -> Iterator[OnPoll]:
    """Show progress for as long as the block lasts; yields what is called now and then."""
    # On a terminal it goes to the errors, so that JSON stays JSON.
    with Console(stderr=True).status(words) as status:

        def show(progress: Progress) -> None:
            status.update(escape(_line(progress, words, settings)))

        yield show


def editor_of(settings: Settings, policies: Policies, on_poll: OnPoll) -> PolicyEditor:
    """Return a policy editor that says what there is to say of its servers."""
    return PolicyEditor(settings, policies, server_log(settings), on_poll)


def server_log(settings: Settings) -> Callable[[str], None]:
    """Return what takes lines about servers."""
    # To the errors as well, so that JSON stays JSON.
    return lambda line: typer.echo(mask_secrets(line, settings), err=True)


def _line(progress: Progress, words: str, settings: Settings) -> str:
    if not progress.rows:
        return words
    calls = progress.calls_made + progress.replayed
    line = f"{words} {progress.rows_done} of {progress.rows}, {calls} answers"
    if progress.notice:
        line += f"; {mask_secrets(progress.notice, settings)}"
    return line
