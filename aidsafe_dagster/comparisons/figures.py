"""A comparison as plain values, for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aidsafe_dagster.comparisons.comparison import Comparison
from aidsafe_dagster.comparisons.rows import ChangedRow
from aidsafe_dagster.comparisons.sides import Side


def as_values(comparison: Comparison, rows: Sequence[ChangedRow]) -> dict[str, Any]:
    """Return all figures, the ids of all changed prompts, and some of them in full."""
    refusals = []
    for kind, how_far, figure in comparison.refusals:
        refusals.append({"kind": kind, "how_far": how_far, **asdict(figure)})
    return {
        "a": _side(comparison.a),
        "b": _side(comparison.b),
        "simulated": list(comparison.simulated_sides),
        "prompts": len(comparison.prompts),
        "only_a": comparison.only_a,
        "only_b": comparison.only_b,
        "recipes": [asdict(difference) for difference in comparison.recipes],
        "judges_changed": comparison.judges_changed,
        "graded_on_both": comparison.graded_on_both,
        "outcomes": [asdict(figure) for figure in comparison.outcomes],
        "failures": [
            {"reason": reason, "a": a, "b": b} for reason, a, b in comparison.failures
        ],
        "scores": [asdict(figure) for figure in comparison.scores],
        "refusals": refusals,
        "coverage": [asdict(figure) for figure in comparison.coverage],
        "amounts": [asdict(figure) for figure in comparison.amounts],
        "currency": comparison.currency,
        "money": asdict(comparison.money) if comparison.money else None,
        "changed_by_kind": dict(comparison.changes_by_kind()),
        "changed": [
            {
                "prompt_id": one.prompt_id,
                "changed": list(one.changed),
                "score_change": one.score_change,
            }
            for one in comparison.changed
        ],
        "rows": [_row(row) for row in rows],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "description": side.description,
        "batches": sorted(side.lakes),
        "half_made": {batch: sorted(stages) for batch, stages in side.stale.items()},
        "currency": side.currency,
    }


def _row(row: ChangedRow) -> dict[str, Any]:
    texts = []
    for text in row.texts:
        before = "".join(piece.text for piece in text.a)
        after = "".join(piece.text for piece in text.b)
        texts.append({"title": text.title, "a": before, "b": after})
    values = []
    for value in row.values:
        line = {"name": value.name, "a": value.before, "b": value.after}
        values.append({**line, "reason": value.reason})
    return {
        "prompt_id": row.prompt_id,
        "prompt": row.prompt,
        "batch": row.batch,
        "kind": row.kind,
        "changed": list(row.changed),
        "texts": texts,
        "values": values,
    }
