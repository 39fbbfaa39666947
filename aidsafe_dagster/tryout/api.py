"""The package's public face in Python: `try_prompts`."""

import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.settings.load import Loaded, load_settings
from aidsafe_dagster.settings.project import SETTINGS_VARIABLE, find_project
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.tryout.prompts import (
    Talk,
    prompts_from_file,
    prompts_from_texts,
)
from aidsafe_dagster.tryout.results import TriedPrompt, Tryout
from aidsafe_dagster.tryout.run import TryoutRun
from aidsafe_dagster.tryout.store import store

DEFAULT_COUNT = 5


def try_prompts(
    prompts: str | Path | Iterable[str | Talk | Prompt],
    settings: Settings | Loaded | None = None,
    *,
    limit: int = DEFAULT_COUNT,
    gates: bool = False,
    keep: bool = True,
    on_done: Callable[[TriedPrompt], None] | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Tryout:
    """Run the whole recipe on a few prompts, with the engine of the settings, without Dagster.

    Gates close nothing. Every completion is in the journal of the tryouts, so trying the same again
    asks only what has changed. It blocks until all is done, and may be called where an event loop
    is running, as in a notebook.

        from aidsafe_dagster import try_prompts

        tryout = try_prompts(["How do I pick a lock?", "Write a poem about rain."])
        tryout.to_frame()

    Args:
        prompts: one text; some texts, conversations (OpenAI messages, the last of the user) or
            `Prompt` records; or the path of a file of any kind that ingestion reads (a `Path`; a
            `str` is always a text).
        settings: as from `load_settings`; None: those of the current folder's project. Outside any
            project they are the defaults, with a warning.
        limit: prompts to take of a file at most.
        gates: also say what the suites of the gates would say; takes some seconds.
        keep: keep the result in `<home>/tryouts/<time>/`, of which the latest 20 stay.
        on_done: called with each prompt as soon as it is done, in the order in which they end.
        log: called with lines about servers that are slow or away.

    Returns:
        What became of each prompt, with tokens and money (in `facts.currency`). A prompt that
        failed is among them, with its failures.

    Raises:
        SetupError: a prompt, a setting, a policy or a template is no good, or no call can succeed
            (server away, wrong key, no such model). The message says how to mend it.
    """
    if settings is None:
        _warn_without_project()
        settings = load_settings()
    if isinstance(settings, Loaded):
        settings = settings.settings
    if isinstance(prompts, Path):
        chosen = prompts_from_file(prompts, limit, settings, {})
    elif isinstance(prompts, str):
        chosen = prompts_from_texts([prompts], settings)
    else:
        chosen = prompts_from_texts(prompts, settings)
    run = TryoutRun(chosen.prompts, take_snapshot(settings), log)
    for tried in run:
        if on_done:
            on_done(tried)
    tryout = run.result(with_gates=gates)
    return store(tryout, settings) if keep else tryout


def _warn_without_project() -> None:
    project = find_project()
    if project.is_found or os.environ.get(SETTINGS_VARIABLE):
        return
    warnings.warn(
        f"no project in {project.folder} or above it: default settings, policies and engine are "
        "used. `aidsafe init DIR` makes a project; load_settings(Path(DIR)) reads one.",
        # The caller of `try_prompts`.
        stacklevel=3,
    )
