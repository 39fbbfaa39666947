"""From which call on the next tryout of a prompt draws anew: what failed on the model's answer.

The journal would answer the same for ever. As in a batch, answers before the task that failed are
replayed, and a row that came out keeps its draws. What a gate would hold back, and pairs that are
left out, are results: they are replayed.

    <home>/tryouts/redraws.json      prompt id → stage → calls, one entry per failure
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.recipe.records import EXCLUSION_REASONS, Failure

FILE = "redraws.json"


class Redraws:
    """The draws of a home's tryouts; what another process adds at the same time may be lost.

    Args:
        folder: the home of the tryouts.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._calls = _read(self._file)

    def of(self, prompt_id: str) -> Mapping[str, tuple[int, ...]]:
        """Return the calls to draw anew of a prompt, by stage."""
        stages = self._calls.get(prompt_id, {})
        return {stage: tuple(calls) for stage, calls in stages.items()}

    def note(self, failures: Iterable[Failure]) -> None:
        """Remember what failed, for the next tryout."""
        failed_on_answer = [one for one in failures if is_asked_again(one)]
        if not failed_on_answer:
            return
        for failure in failed_on_answer:
            stages = self._calls.setdefault(failure.prompt_id, {})
            stages[failure.stage] = list(failure.redraws)
        write_text(self._file, json.dumps(self._calls), durable=False)


def is_asked_again(failure: Failure) -> bool:
    """Tell whether the next tryout draws a failed row anew."""
    return bool(failure.redraws) and failure.reason not in EXCLUSION_REASONS


def _read(file: Path) -> dict[str, dict[str, list[int]]]:
    try:
        calls = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        # Not there, or damaged: then what failed fails once more, and is noted anew.
        return {}
    return calls if isinstance(calls, dict) else {}
