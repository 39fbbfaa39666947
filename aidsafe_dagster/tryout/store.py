"""Where tryouts are kept: `<home>/tryouts/<time>/`, the latest ones; their answers in one journal.

<home>/tryouts/journal.sqlite                  answers of all tryouts, so that none is asked twice
<home>/tryouts/20261129-031500/tryout.json     facts, costs, verdicts of the gates
<home>/tryouts/20261129-031500/lake/…          rows and failures, as in the project's lake
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from aidsafe_dagster.lake.batch_recipes import read_recipes, store_recipe
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.policy_texts import store_policies
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.lake.template_texts import read_template, store_templates
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    Failure,
    Prompt,
    Record,
    Row,
    Stage,
    TriedBelief,
)
from aidsafe_dagster.recipe.stages import STAGES, load_templates
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.tryout.comparison import template_values
from aidsafe_dagster.tryout.results import BATCH, Tryout, TryoutFacts, tried_prompt

KEPT = 20
"""Tryouts that are kept; older ones are removed. Their answers stay in the journal."""
LAST = "last"
FACTS = "tryout.json"
HELD_BACK = "held_back"
"""Table of the rows that a run would hold back, with the reason."""
_NAME = re.compile(r"\d{8}-\d{6}(-\d+)?")


def tryouts_folder(settings: Settings) -> Path:
    return settings.home / "tryouts"


def tryout_settings(settings: Settings) -> Settings:
    """Return the settings with a home and a journal of the tryouts' own."""
    folder = tryouts_folder(settings)
    journal = f"sqlite:///{folder / 'journal.sqlite'}"
    return settings.model_copy(update={"home": folder, "journal_url": journal})


def store(tryout: Tryout, settings: Settings, parent: Path | None = None) -> Tryout:
    """Keep a tryout, and remove the oldest ones. Returns it with its folder.

    Args:
        tryout: to be kept.
        settings: name the home, and the policies that are kept with it.
        parent: the folder of its like; None: that of all tryouts.

    Raises:
        SetupError: it cannot be written.
    """
    parent = parent or tryouts_folder(settings)
    folder = _new_folder(parent)
    lake = Lake(folder / "lake")
    for name, definition in STAGES.items():
        rows: list[Record] = []
        failures: list[Failure] = []
        for tried in tryout.prompts:
            if name in tried.rows:
                rows.append(tried.rows[name])
            if name in tried.failures:
                failures.append(tried.failures[name])
        if definition.dialogue is not None and not definition.is_optional:
            lake.store(name, BATCH, rows, definition.record, failures)
    lake.store(Stage.PROMPTS, BATCH, tryout.facts.prompts, Prompt, [])
    held_back: list[Failure] = []
    candidates: list[TriedBelief] = []
    for tried in tryout.prompts:
        held_back.extend(tried.held_back.values())
        candidates.extend(tried.candidates)
    lake.store(HELD_BACK, BATCH, held_back, Failure)
    lake.store(BELIEF_CANDIDATES, BATCH, candidates, TriedBelief)
    for recipe in tryout.recipes.values():
        store_recipe(lake, recipe)
    # Those of another text than the rows were made under are found under no hash of theirs.
    store_policies(lake, settings.load_policies())
    templates = load_templates(settings.prompts)
    for name in tryout.recipes:
        store_templates(lake, templates, name)
    # Last: a folder without it was cut off, and is no tryout.
    with atomic_write(folder / FACTS) as temporary:
        temporary.write_text(tryout.facts.model_dump_json(indent=1), "utf-8")
    _prune(parent)
    return replace(tryout, folder=folder)


def is_tryout(folder: Path) -> bool:
    return (folder / FACTS).is_file()


def latest(settings: Settings) -> Path | None:
    """Return the folder of the latest tryout, None if there is none."""
    folders = kept(tryouts_folder(settings))
    return folders[-1] if folders else None


def load(folder: Path) -> Tryout:
    """Read a tryout that was kept.

    Raises:
        SetupError: the folder holds none, or one of another release.
    """
    with _explained(folder):
        return _load(folder, _read_facts(folder))


def load_facts(folder: Path) -> TryoutFacts:
    """Read what is true of a whole tryout that was kept.

    Raises:
        SetupError: as `load`.
    """
    with _explained(folder):
        return _read_facts(folder)


def _read_facts(folder: Path) -> TryoutFacts:
    return TryoutFacts.model_validate_json((folder / FACTS).read_text("utf-8"))


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SetupError(
            f"{folder}: there is no tryout, as {error.filename} is missing"
        ) from error
    except (OSError, ValidationError, ValueError) as error:
        raise SetupError(
            f"{folder}: not a tryout that this release can read "
            f"({str(error).partition(chr(10))[0]})"
        ) from error


def _load(folder: Path, facts: TryoutFacts) -> Tryout:
    lake = Lake(folder / "lake")
    rows: dict[str, dict[str, Row]] = defaultdict(dict)
    failures: dict[str, list[Failure]] = defaultdict(list)
    for name, definition in STAGES.items():
        if definition.dialogue is None or not lake.has(name, BATCH):
            continue
        for row in lake.records(name, BATCH, definition.record):
            assert isinstance(row, Row)
            rows[row.prompt_id][name] = row
        for failure in from_frame(lake.failures(name, BATCH), Failure):
            failures[failure.prompt_id].append(failure)
    held_back = _by_prompt(lake.records(HELD_BACK, BATCH, Failure))
    candidates = _by_prompt(lake.records(BELIEF_CANDIDATES, BATCH, TriedBelief))
    prompts = []
    for prompt in facts.prompts:
        key = prompt.prompt_id
        tried = tried_prompt(
            prompt,
            rows[key],
            failures[key],
            held_back.get(key, ()),
            candidates.get(key, ()),
            facts.spent[key],
            facts.score_gate,
        )
        prompts.append(tried)
    recipes = read_recipes(lake, BATCH)
    return Tryout(
        tuple(prompts), facts, recipes, folder, _template_texts(lake, recipes)
    )


def _template_texts(
    lake: Lake, recipes: Mapping[str, StageRecipe]
) -> Mapping[str, str]:
    texts = {}
    for value in template_values(recipes).values():
        text = read_template(lake, value)
        # An earlier release kept none.
        if text is not None:
            texts[value] = text
    return texts


F = TypeVar("F", Failure, TriedBelief)


def _by_prompt(records: Sequence[F]) -> Mapping[str, list[F]]:
    by_prompt: dict[str, list[F]] = {}
    for record in records:
        by_prompt.setdefault(record.prompt_id, []).append(record)
    return by_prompt


def _new_folder(parent: Path) -> Path:
    """Make a folder named for the time, with a number behind it if that second is taken."""
    name = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise SetupError(f"{folder}: cannot be made ({error.strerror})") from error
        else:
            return folder


def kept(parent: Path) -> list[Path]:
    """Return the folders of tryouts, the oldest first."""
    if not parent.is_dir():
        return []
    folders = []
    for folder in parent.iterdir():
        if _NAME.fullmatch(folder.name) and is_tryout(folder):
            folders.append(folder)
    return sorted(folders, key=_order)


def _order(folder: Path) -> tuple[str, int]:
    day, second, *number = folder.name.split("-")
    return f"{day}-{second}", int(number[0]) if number else 1


def _prune(parent: Path) -> None:
    for folder in kept(parent)[:-KEPT]:
        # Another tryout may remove it at the same time.
        shutil.rmtree(folder, ignore_errors=True)
