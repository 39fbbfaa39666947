"""`aidsafe try --watch`: wait until something is saved on which the tryout depends."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchfiles import watch

from aidsafe_dagster.primitives.stop_signals import received
from aidsafe_dagster.recipe.batch_recipe import describe_changes
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.settings.load import Loaded, load_settings
from aidsafe_dagster.settings.recipe_parts import recipe_parts
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot, take_snapshot

_LOOK_EVERY_MS = 1000
"""Where the file system tells nothing, such as a network share, a change is found by then."""
_SETTLE_MS = 200
_Signature = Mapping[Path, tuple[int, int]]


@dataclass(frozen=True)
class State:
    """Everything on which a tryout depends, as it was at one moment."""

    loaded: Loaded
    snapshot: SettingsSnapshot
    prompts: tuple[Prompt, ...]
    file: Path | None
    """That the prompts come from."""
    signature: _Signature
    """Time and size of the files."""

    @classmethod
    def of(
        cls, loaded: Loaded, prompts: tuple[Prompt, ...], file: Path | None
    ) -> "State":
        """Read policies and templates.

        Raises:
            SetupError: they cannot be read.
        """
        # Before they are read: what is saved meanwhile is then a change.
        signature = _signature(loaded, file)
        snapshot = take_snapshot(loaded.settings)
        _ = snapshot.policies, snapshot.templates
        return cls(loaded, snapshot, prompts, file, signature)

    @property
    def settings(self) -> Settings:
        return self.snapshot.settings

    def is_same(self, other: "State") -> bool:
        is_same_recipe = self.snapshot.hash == other.snapshot.hash
        return is_same_recipe and self.prompts == other.prompts


def wait_for_change(
    state: State, read: Callable[[Loaded], State], log: Callable[[str], None]
) -> State:
    """Return the state once it is another one.

    A file that cannot be read, perhaps half saved, is told once and waited for.

    Args:
        state: the present one.
        read: reads the state anew.
        log: takes a line.
    """
    signature = state.signature
    trouble = ""
    while True:
        for _ in _ticks(state):
            present = _signature(state.loaded, state.file)
            if present == signature:
                continue
            signature = present
            try:
                changed = read(load_settings())
            except SetupError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    log(f"Waiting until this is mended: {trouble}")
                continue
            if trouble:
                log("Mended.")
                trouble = ""
            if not changed.is_same(state):
                return changed


def changes_by_name(before: State, after: State) -> list[str]:
    """Return in words what differs: settings, policies, templates, prompts."""
    changes: dict[str, None] = {}
    for stage, definition in STAGES.items():
        if definition.dialogue is not None and not definition.is_optional:
            earlier = recipe_parts(before.snapshot, stage)
            present = recipe_parts(after.snapshot, stage)
            changes |= dict.fromkeys(describe_changes(earlier, present))
    if not changes:
        # No text depends on these, such as the bounds of a gate, or where a server is.
        changes |= dict.fromkeys(_changed_settings(before.settings, after.settings))
    changes |= dict.fromkeys(_changed_prompts(before.prompts, after.prompts))
    return list(changes)


def _changed_settings(before: Settings, after: Settings) -> Iterator[str]:
    old = dict(_leaves(before.model_dump(mode="json")))
    new = dict(_leaves(after.model_dump(mode="json")))
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            yield f"{key}: {old.get(key)} → {new.get(key)}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _changed_prompts(
    before: tuple[Prompt, ...], after: tuple[Prompt, ...]
) -> Iterator[str]:
    old = {prompt.prompt_id for prompt in before}
    new = {prompt.prompt_id for prompt in after}
    if old != new:
        yield f"prompts: {len(new - old)} added, {len(old - new)} removed"
    elif before != after:
        yield "prompts: another order, category or place"


def _ticks(state: State) -> Iterator[object]:
    """Yield whenever something in the watched folders is saved, and now and then."""
    folders = {file.parent for file in state.signature}
    folders |= {state.loaded.file.parent, state.settings.policies}
    existing = [folder for folder in folders if folder.is_dir()]
    # What was saved before the watch begins.
    yield ()
    for changes in watch(
        *existing,
        recursive=False,
        debounce=_SETTLE_MS,
        rust_timeout=_LOOK_EVERY_MS,
        yield_on_timeout=True,
        raise_interrupt=True,
    ):
        if received():
            raise KeyboardInterrupt
        yield changes


def _signature(loaded: Loaded, file: Path | None) -> _Signature:
    """Return time and size of each file on which a tryout depends."""
    settings = loaded.settings
    files = [
        loaded.file,
        *settings.policies.glob("*.toml"),
        *settings.prompts.rglob("*.jinja"),
    ]
    if file:
        files.append(file.absolute())
    signature = {}
    for path in files:
        try:
            status = path.stat()
        except OSError:
            # It is being replaced, or there is none.
            continue
        signature[path] = (status.st_mtime_ns, status.st_size)
    return signature
