"""The work of `aidsafe try`: choose prompts, run them, show each as it is done, and sum up."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from aidsafe_dagster.cli.console import (
    console,
    print_paragraph,
    print_plain,
    print_problem,
    quantity,
)
from aidsafe_dagster.cli.engine_line import print_engine
from aidsafe_dagster.cli.tryout_output import Cards, JsonLines, Output
from aidsafe_dagster.cli.tryout_watch import State, changes_by_name, wait_for_change
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.load import Loaded, load_settings
from aidsafe_dagster.settings.project import SETTINGS_FILE, SETTINGS_VARIABLE
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.tryout.api import DEFAULT_COUNT
from aidsafe_dagster.tryout.comparison import compare_prompt
from aidsafe_dagster.tryout.prompts import (
    ChosenPrompts,
    prompts_from_file,
    prompts_from_texts,
    prompts_of_project,
)
from aidsafe_dagster.tryout.results import Tryout
from aidsafe_dagster.tryout.run import TryoutRun
from aidsafe_dagster.tryout.store import (
    LAST,
    is_tryout,
    latest,
    load,
    store,
    tryouts_folder,
)


@dataclass(frozen=True)
class Request:
    """What a person asked to try."""

    file: Path | None
    texts: tuple[str, ...]
    columns: Mapping[str, str | None]
    count: int | None
    against: str | None
    with_gates: bool


def run_tryouts(request: Request, *, watch: bool, as_json: bool) -> bool:
    """Try the prompts, with `watch` again and again until Ctrl-C.

    Returns:
        Whether any prompt came to a response.

    Raises:
        SetupError: a setting, a policy, a template or the prompts are no good, or no call can
            succeed. With `watch`, only before the first prompt is tried.
    """
    _check(request)
    loaded = load_settings()
    settings = loaded.settings
    before = _earlier(request, settings, is_needed=not watch)
    chosen = _choose(request, settings, before)
    output: Output = JsonLines(settings) if as_json else Cards(settings)
    if not as_json:
        print_engine(settings)
        _print_chosen(chosen)
    state = State.of(loaded, chosen.prompts, request.file)
    if request.against not in (None, LAST) and before is None:
        before = _under_other_settings(request.against, state, settings)
    tryout = _try(state, output, before, request)
    while watch:
        state = _next_state(state, request)
        output = replace(output, settings=state.settings)
        try:
            tryout = _try(state, output, tryout, request, is_again=True)
        except SetupError as error:
            print_problem("Error", str(error))
    return not all(tried.is_failed for tried in tryout.prompts)


def _check(request: Request) -> None:
    if request.file and request.texts:
        raise SetupError("give a file or --prompt, not both")
    if not request.file and any(request.columns.values()):
        raise SetupError("--prompt-column and --category-column are about a file")


def _choose(
    request: Request, settings: Settings, before: Tryout | None
) -> ChosenPrompts:
    count = request.count or DEFAULT_COUNT
    if request.file:
        return prompts_from_file(request.file, count, settings, request.columns)
    if request.texts:
        return prompts_from_texts(request.texts, settings)
    if before:
        # The same prompts, as otherwise there would be nothing to compare.
        prompts = before.facts.prompts[: request.count]
        return ChosenPrompts(prompts, f"those of {before.folder}")
    return prompts_of_project(count, settings)


def _print_chosen(chosen: ChosenPrompts) -> None:
    count = quantity(len(chosen.prompts), "prompt")
    print_paragraph(f"Trying {count}: {chosen.origin}.")
    for row in chosen.dropped[:3]:
        print_paragraph(f"left out: {row.source_row}: {row.reason}, {row.detail}", 2)
    if len(chosen.dropped) > 3:
        print_plain(f"  and {len(chosen.dropped) - 3} more rows left out")


def _earlier(request: Request, settings: Settings, *, is_needed: bool) -> Tryout | None:
    """Return the earlier tryout that is named, None if the name is of something else or empty.

    Args:
        request: names it.
        settings: of the home where it is kept.
        is_needed: there has to be a last one. A watch compares its later rounds anyway.

    Raises:
        SetupError: there is none.
    """
    if not request.against:
        return None
    if request.against == LAST:
        folder = latest(settings)
        if folder is None and not is_needed:
            return None
        if folder is None:
            raise SetupError(
                f"--against {LAST}: there is no earlier tryout in "
                f"{tryouts_folder(settings)}; run `aidsafe try` once without it"
            )
        return load(folder)
    for place in (Path(request.against), tryouts_folder(settings) / request.against):
        if is_tryout(place):
            return load(place)
    return None


def _under_other_settings(against: str, state: State, settings: Settings) -> Tryout:
    """Try the same prompts under another project's settings, or other policies.

    Raises:
        SetupError: the folder is neither; says what it may be.
    """
    folder = Path(against).absolute()
    if (folder / SETTINGS_FILE).is_file():
        environ = {
            key: value for key, value in os.environ.items() if key != SETTINGS_VARIABLE
        }
        other = load_settings(folder, environ).settings
        # Nothing is written to the other project.
        other = other.model_copy(update={"home": settings.home, "journal_url": ""})
    elif any(folder.glob("*.toml")):
        other = settings.model_copy(update={"policies": folder})
    else:
        raise SetupError(
            f"--against {against}: neither '{LAST}', nor the folder of a tryout, nor one with "
            f"an {SETTINGS_FILE}, nor one with policies (*.toml)"
        )
    run = TryoutRun(state.prompts, take_snapshot(other), lambda _: None)
    with console.status(f"Trying the same under {against} …"):
        for _ in run:
            pass
    return run.result(with_gates=False)


def _try(
    state: State,
    output: Output,
    before: Tryout | None,
    request: Request,
    *,
    is_again: bool = False,
) -> Tryout:
    """Run one tryout, show it and keep it.

    Args:
        state: prompts and settings.
        output: where it is shown.
        before: what it is compared with.
        request: what a person asked for.
        is_again: it is the next round of a watch, and `before` the round before. Then a prompt that
            came out otherwise is shown whole, unless a comparison was asked for.
    """
    is_compared = bool(request.against) or not is_again
    earlier = {}
    if before:
        earlier = {tried.prompt.prompt_id: tried for tried in before.prompts}
    run = TryoutRun(state.prompts, state.snapshot, output.log)
    total = len(state.prompts)
    with output.waiting(run.progress) as on_poll:
        run.on_poll = on_poll
        for number, tried in enumerate(run, start=1):
            place = f"{number} of {total}"
            old = earlier.get(tried.prompt.prompt_id)
            if old and not is_compared and not compare_prompt(old, tried).is_same:
                old = None
            output.prompt(tried, place, old)
    with output.judging():
        tryout = run.result(with_gates=request.with_gates)
    tryout = store(tryout, state.settings)
    output.summary(tryout, before if is_compared else None)
    return tryout


def _next_state(state: State, request: Request) -> State:
    """Wait until something is saved that bears on the tryout, and say what it is."""
    print_plain("\nWaiting for a change of policies, templates, settings or prompts …")

    def read(loaded: Loaded) -> State:
        prompts = state.prompts
        if request.file:
            prompts = _choose(request, loaded.settings, None).prompts
        return State.of(loaded, prompts, request.file)

    changed = wait_for_change(state, read, print_plain)
    for line in changes_by_name(state, changed):
        print_paragraph(f"Changed: {line}")
    return changed
