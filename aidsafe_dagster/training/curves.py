"""The curves of a training, as its script wrote them to `metrics.jsonl`: a line of numbers per log step."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Curve = Sequence[tuple[int, float]]
"""Step and value, in the order of the steps."""
FILE = "metrics.jsonl"


def read_curves(folder: Path) -> Mapping[str, Curve]:
    """The curve of `loss`, `eval_loss`, `learning_rate` and whatever else the trainer logs; none without a file."""
    file = folder / FILE
    lines = (
        [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    )
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name in line.keys() - {"step"}:
            found.setdefault(name, []).append((line["step"], line[name]))
    return found
