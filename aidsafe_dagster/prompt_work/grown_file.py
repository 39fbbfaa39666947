"""The file that grown prompts are ingested from, and the record of each growth.

`prompts/<name>.jsonl` in the project's folder only ever gets longer: a row keeps its place in the
source. `<home>/prompt_work/growth-0001.json` says what a growth asked for, took and left out.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.prompt_work.coverage import Cell
from aidsafe_dagster.prompt_work.growing import Growth, Taken
from aidsafe_dagster.prompt_work.prompt_file import append_rows
from aidsafe_dagster.recipe.grown_prompts import GrowthSettings
from aidsafe_dagster.recipe.templates import PROMPT_WORK
from aidsafe_dagster.settings.schema import Settings

NAME = "grown"
REHEARSED_NAME = "rehearsed"
"""Of what no model wrote, so that no batch key hides it."""
_RECORDS = re.compile(r"growth-(\d+)\.json")


def default_name(settings: Settings) -> str:
    """Return the name of the source that grown prompts belong to."""
    return REHEARSED_NAME if settings.engine == "rehearsal" else NAME


def licence_of(growth: Growth, settings: GrowthSettings) -> str:
    """Return the licence of the settings, or one that says which model wrote the prompts."""
    model = re.sub(r"[^A-Za-z0-9.-]+", "-", growth.model).strip("-.")
    return settings.licence or f"LicenseRef-generated-by-{model or 'a-model'}"


def append_grown(path: Path, growth: Growth, settings: GrowthSettings) -> int:
    """Add the prompts of a growth to their file, each text once.

    Returns:
        How many were added: none where a growth that was killed had added them.

    Raises:
        SetupError: the file cannot be read or written, or holds something else.
    """
    licence = licence_of(growth, settings)
    return append_rows(path, [_row(taken, growth, licence) for taken in growth.taken])


def _row(taken: Taken, growth: Growth, licence: str) -> dict[str, Any]:
    cell = taken.candidate.cell
    rule = cell.name if cell.subject == "rule" else ""
    return {
        "prompt": taken.candidate.text,
        "category": taken.category,
        "licence": licence,
        "derivation": {
            "method": "grown",
            "parent": "",
            "policy": rule.partition(".")[0],
            "rule": rule,
            "kind": cell.kind,
            "detail": str(taken.candidate.variety),
            "model": growth.model,
            "simulated": growth.simulated,
        },
    }


def finished_growths(settings: Settings) -> int:
    """Return how many growths came to an end in this project."""
    return len(_numbers(settings))


def record_growth(
    settings: Settings,
    growth: Growth,
    before: Mapping[Cell, int],
    after: Mapping[Cell, int],
) -> Path:
    """Record a growth that came to an end.

    Raises:
        SetupError: the file cannot be written.
    """
    number = max(_numbers(settings), default=0) + 1
    path = settings.home / PROMPT_WORK / f"growth-{number:04d}.json"
    with atomic_write(path) as temporary:
        values = _values(growth, before, after)
        temporary.write_text(json.dumps(values, ensure_ascii=False, indent=1), "utf-8")
    return path


def _numbers(settings: Settings) -> list[int]:
    folder = settings.home / PROMPT_WORK
    matches = [_RECORDS.fullmatch(path.name) for path in folder.glob("growth-*.json")]
    return [int(match[1]) for match in matches if match]


def _values(
    growth: Growth, before: Mapping[Cell, int], after: Mapping[Cell, int]
) -> dict[str, Any]:
    taken = []
    for one in growth.taken:
        cell = one.candidate.cell
        taken.append(
            {
                **cell._asdict(),
                "prompt": one.candidate.text,
                "variety": str(one.candidate.variety),
                "reason": one.reason,
            }
        )
    rejected = []
    for no in growth.rejected:
        row = {**no.cell._asdict(), "why": no.why, "detail": no.detail}
        rejected.append({**row, "text": no.text})
    return {
        "asked": growth.asked,
        "rounds": growth.rounds,
        "taken": taken,
        "left_out": rejected,
        "left_out_by_reason": {str(why): count for why, count in growth.counts.items()},
        "model": growth.model,
        "simulated": growth.simulated,
        "usage": growth.usage.model_dump(),
        "replayed": growth.replayed,
        "coverage": _changes(before, after),
    }


def _changes(
    before: Mapping[Cell, int], after: Mapping[Cell, int]
) -> Sequence[dict[str, Any]]:
    changes = []
    for cell in sorted({*before, *after}):
        old, new = before.get(cell, 0), after.get(cell, 0)
        if old != new:
            changes.append({**cell._asdict(), "before": old, "after": new})
    return changes
