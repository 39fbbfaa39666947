"""Read the curves of a training from `metrics.jsonl`, which has one line per log step."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Curve = Sequence[tuple[int, float]]
"""Step and value, ordered by step."""
CURVES_FILE = "metrics.jsonl"


def read_curves(folder: Path) -> Mapping[str, Curve]:
    """Return the curves of `loss`, `eval_loss`, `learning_rate` and all else the trainer logs.

    Without a file there are none.
    """
    file = folder / CURVES_FILE
    curves: dict[str, list[tuple[int, float]]] = {}
    if not file.exists():
        return curves
    for line in file.read_text("utf-8").splitlines():
        values = json.loads(line)
        step = values.pop("step")
        for name, value in values.items():
            curves.setdefault(name, []).append((step, value))
    return curves
