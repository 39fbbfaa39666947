"""`aidsafe doctor --try`: what each server takes, and the lines for the settings that follow."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.markup import escape
from rich.table import Table

from aidsafe_dagster.cli.console import console, print_plain, print_problem
from aidsafe_dagster.cli.doctor_servers import check_use
from aidsafe_dagster.engines.profiles import load_profile
from aidsafe_dagster.engines.roles import RoleSettings
from aidsafe_dagster.engines.server_check import ServerCheck, Verdict
from aidsafe_dagster.engines.server_trial import try_server
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.trial_requests import Observation, Outcome, Trial
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.edit import Edit, as_toml, edit_settings
from aidsafe_dagster.settings.load import Loaded
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.servers_in_use import ServerUse, servers_in_use

_MARKS = {
    Outcome.GOOD: "[green]✓[/]",
    Outcome.ABSENT: "[dim]–[/]",
    Outcome.MENDED: "[yellow]![/]",
    Outcome.BROKEN: "[red]✗[/]",
}
_FIELDS = (
    "base_url",
    "context_length",
    "tokenize",
    "priority",
    "end_loops",
    "omit",
    "rename",
    "output",
    "schema_omit",
    "system",
    "reasoning_off",
)
"""What a trial may change of a server's settings, in the order of `engines/settings.py`."""
_WIDTH = 80


@dataclass(frozen=True)
class TrialResult:
    use: ServerUse
    trial: Trial
    edits: tuple[Edit, ...]


def try_servers(loaded: Loaded, *, write: bool) -> bool:
    """Try every server in use, print what was observed, and write the lines if told to.

    Returns:
        Whether every server takes all requests under the settings as they are now.
    """
    results = _trials(loaded.settings)
    if not results:
        console.print("\nNo server to try: the engine of these settings is none.")
        return True
    edits = [edit for result in results for edit in result.edits]
    fixed = [edit for edit in edits if _variable_of(edit, loaded)]
    edits = [edit for edit in edits if edit not in fixed]
    _print_lines(loaded, edits)
    for edit in fixed:
        print_problem(
            "Not for the file:",
            f"{edit.place} comes from the variable {_variable_of(edit, loaded)}, which wins "
            f"over the file; there it should be {edit.value!r}",
        )
    is_written = write and not fixed
    if write and edits:
        _print_changes(loaded, edit_settings(loaded.file, edits))
    is_mended = is_written or not any(
        result.trial.has(Outcome.MENDED) for result in results
    )
    is_broken = any(result.trial.has(Outcome.BROKEN) for result in results)
    return is_mended and not is_broken


def _trials(settings: Settings) -> list[TrialResult]:
    """Try each server; a later model of a server starts from what an earlier one needed."""
    results: list[TrialResult] = []
    in_force: dict[tuple[str, ...], ServerSettings] = {}
    for use in servers_in_use(settings):
        current = replace(use, base=in_force.get(use.table, use.base))
        trial = _try(current, settings)
        changes = _changes(current.settings, trial.settings)
        is_first = bool(use.table) and use.table not in in_force
        if is_first:
            in_force[use.table] = use.base.model_copy(update=changes)
            edits = [Edit(use.table, name, value) for name, value in changes.items()]
        elif changes:
            edits = _edits_for_own_server(current, changes, settings)
        else:
            edits = []
        _print_trial(trial)
        results.append(TrialResult(current, trial, tuple(edits)))
    return results


def _try(use: ServerUse, settings: Settings) -> Trial:
    _print_heading(use)
    check = check_use(use)
    server = use.settings
    if check.right_url:
        server = server.model_copy(update={"base_url": check.right_url})
    elif check.verdict is Verdict.UNUSABLE or not server.model:
        return _untried(use, check)
    guards = Role.GUARD in use.speakers and _has_guard(settings)
    trial = asyncio.run(try_server(server, use.sampling, guards=guards))
    if check.right_url:
        detail = f"wrong path; {check.right_url} answers"
        observation = Observation("base_url", Outcome.MENDED, detail)
        trial.observations.insert(0, observation)
    return trial


def _untried(use: ServerUse, check: ServerCheck) -> Trial:
    trial = Trial(use.settings)
    trial.note("not tried", Outcome.BROKEN, check.detail)
    return trial


def _has_guard(settings: Settings) -> bool:
    """Return whether somebody has set a guard up."""
    return settings.pairs.scorer == "guard" or Role.GUARD in settings.roles


def _changes(before: ServerSettings, after: ServerSettings) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(after, name)
        if value != getattr(before, name):
            changes[name] = value
    return changes


def _edits_for_own_server(
    use: ServerUse, changes: Mapping[str, Any], settings: Settings
) -> list[Edit]:
    """Return edits that give the roles of a use a server of their own.

    A role cannot say what its server refuses, and another model of the same server may take more.
    """
    name = use.speakers[0]
    while name in settings.servers:
        name += "_server"
    values = _stated(use.base) | dict(changes)
    own = [settings.roles.get(speaker, RoleSettings()) for speaker in use.speakers]
    # An agent with a server of its own takes nothing from its role any more.
    if not all(role.model for role in own):
        values["model"] = use.settings.model
    table = ("servers", name)
    edits = [Edit(table, key, value) for key, value in values.items()]
    for speaker in use.speakers:
        role = settings.roles.get(speaker)
        # An agent or a role without a table of its own follows one that has one.
        if role is None:
            continue
        edits.append(Edit(("roles", speaker), "server", name))
        for key in ("base_url", "api_key_env"):
            if getattr(role, key):
                edits.append(Edit(("roles", speaker), key, None))
    return edits


def _stated(server: ServerSettings) -> dict[str, Any]:
    """Return what the settings say of a server, without what its profile says for them."""
    profile = load_profile(server.profile).server if server.profile else {}
    stated = server.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    # A default of `[endpoint]` that another server does not share.
    stated["api_key_env"] = server.api_key_env
    if not server.api_key_env:
        del stated["api_key_env"]
    return {key: value for key, value in stated.items() if profile.get(key) != value}


def _variable_of(edit: Edit, loaded: Loaded) -> str:
    """Return the variable that sets what an edit would set in the file; empty if none does."""
    for key, origin in loaded.origins.items():
        is_same = key == edit.place or key.startswith(f"{edit.place}.")
        if is_same and origin == "environment":
            return "AIDSAFE_" + "__".join((*edit.table, edit.key)).upper()
    return ""


def _print_heading(use: ServerUse) -> None:
    model = f"model '{use.settings.model}'" if use.settings.model else "no model"
    console.print(
        f"\n[bold]Trial of {escape(use.title)}[/] · {escape(model)} · for {use.roles}",
        highlight=False,
    )


def _print_trial(trial: Trial) -> None:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in trial.observations:
        # Words of a server are data: no markup.
        table.add_row(f" {_MARKS[one.outcome]}", one.what, escape(one.detail))
    console.print(table, highlight=False, width=min(_WIDTH, console.width))


def _print_lines(loaded: Loaded, edits: Sequence[Edit]) -> None:
    if not edits:
        console.print(f"\nLines for {loaded.file.name}: nothing to change")
        return
    console.print(f"\nLines for {loaded.file.name}:\n", highlight=False)
    print_plain(as_toml(edits))


def _print_changes(loaded: Loaded, changes: Sequence[str]) -> None:
    print_plain(f"\nWritten to {loaded.file}:\n")
    print_plain("\n".join(line for line in changes if line.strip("+-")))
