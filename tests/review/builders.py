"""A lake with chains of thought of all three versions, and ratings of a sample of it."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import METRICS, Record, Stage, Version
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.review.sample import (
    PAIRS,
    Item,
    KeyRow,
    Pair,
    ReviewSample,
    draw_sample,
)
from tests.builders import (
    a_deliberated_cot,
    a_prompt,
    a_refined_cot,
    a_refined_thought,
    a_single_llm_cot,
    a_thought,
)

MAKERS: Mapping[Version, tuple[Stage, Callable[..., Any], Callable[..., Any]]] = {
    "single_llm": (Stage.SINGLE_LLM_COTS, a_single_llm_cot, a_thought),
    "deliberated": (Stage.DELIBERATED_COTS, a_deliberated_cot, a_thought),
    "refined": (Stage.REFINED_COTS, a_refined_cot, a_refined_thought),
}

BATCHES = {
    "mine-0001": ("p1a", "p1b", "p1c", "p1d", "p1e", "p1f"),
    "mine-0002": ("p2a", "p2b", "p2c", "p2d", "p2e", "p2f"),
}


def put(lake: Lake, stage: Stage, batch: str, rows: Sequence[Record]) -> None:
    lake.write(
        stage,
        batch,
        to_frame(rows, STAGES[stage].record),
    )


def put_version(
    lake: Lake, version: Version, batch: str, prompt_ids: Sequence[str], **changes: Any
) -> None:
    """Write a row per prompt. Its texts name the version and the prompt."""
    stage, make, make_thought = MAKERS[version]
    rows = []
    for prompt_id in prompt_ids:
        thought = make_thought(text=f"Thought of {version} on {prompt_id}.")
        row = make(
            prompt_id=prompt_id,
            batch=batch,
            prompt=f"What about {prompt_id}?",
            thoughts=(thought,),
            response=f"Response of {version} on {prompt_id}.",
            **changes,
        )
        rows.append(row)
    put(lake, stage, batch, rows)


def a_lake(
    folder: Path, batches: Mapping[str, Sequence[str]] | None = None, **changes: Any
) -> Lake:
    """Write all three versions of every prompt, by default in two batches of six."""
    lake = Lake(folder / "data" / "lake")
    for batch, prompt_ids in (batches or BATCHES).items():
        prompts = [
            a_prompt(prompt_id=prompt_id, batch=batch) for prompt_id in prompt_ids
        ]
        put(lake, Stage.PROMPTS, batch, prompts)
        for version in MAKERS:
            put_version(lake, version, batch, prompt_ids, **changes)
    return lake


def a_sample(
    lake: Lake, size: int = 8, pairs: Sequence[Pair] = PAIRS, seed: int = 0
) -> ReviewSample:
    return draw_sample(lake, size, pairs, seed)


def a_row(
    sample: ReviewSample, item: str = "item-001", side: str = "left", **cells: Any
) -> dict[str, Any]:
    """Return a row of a file of ratings, with all metrics at 4."""
    about = {"review_id": sample.review_id, "item_id": item, "side": side, "rater": ""}
    scores: dict[str, Any] = dict.fromkeys(METRICS, "4")
    return {**about, **scores, "preferred": "left", "comment": "", **cells}


def rated_by(
    sample: ReviewSample,
    score: Callable[[Version, KeyRow], int],
    prefers: Callable[[KeyRow], str],
) -> list[dict[str, Any]]:
    """Return the rows of a whole file. Every metric of a side gets `score(version, row)`."""
    rows = []
    for key_row in sample.key:
        preferred = prefers(key_row)
        for side, version in (("left", key_row.left), ("right", key_row.right)):
            scores = dict.fromkeys(METRICS, str(score(version, key_row)))
            rows.append(
                a_row(
                    sample,
                    key_row.item_id,
                    side,
                    **scores,
                    preferred=preferred,
                )
            )
    return rows


def a_file(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write CSV or JSON, by the suffix of the path."""
    if path.suffix == ".json":
        path.write_text(json.dumps(list(rows)))
        return path
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def texts_of(item: Item) -> tuple[str, str]:
    return item.left.response, item.right.response
