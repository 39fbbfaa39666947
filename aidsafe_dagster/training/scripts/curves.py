"""Record a training: a line of `metrics.jsonl` and a line of progress per log step."""

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


class Curves(TrainerCallback):  # type: ignore[misc]
    """Writes each log step to a file.

    When a training resumes, the file is rewritten from the trainer's own history, so that no step
    appears twice.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._started, self._first_step = time.monotonic(), 0

    # The signatures are those of the trainer's callbacks.
    def on_train_begin(
        self,
        args: Any,  # noqa: ARG002
        state: Any,
        control: Any,  # noqa: ARG002
        **others: Any,  # noqa: ARG002
    ) -> None:
        self._started, self._first_step = time.monotonic(), state.global_step
        if state.is_world_process_zero:
            lines = [_format_line(logs) for logs in state.log_history]
            self._file.write_text("".join(lines), "utf-8")

    def on_log(
        self,
        args: Any,  # noqa: ARG002
        state: Any,
        control: Any,  # noqa: ARG002
        logs: dict[str, Any] | None = None,
        **others: Any,  # noqa: ARG002
    ) -> None:
        if not logs or not state.is_world_process_zero:
            return
        line = _format_line(logs | {"step": state.global_step})
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line)
        position = f"step {state.global_step} of {state.max_steps}"
        labels = {"loss": "loss", "eval_loss": "loss on the validation split"}
        for key, label in labels.items():
            if key in logs:
                loss = f"{label} {logs[key]:.4f}"
                remaining = self._remaining_time(state)
                print(f"{position}: {loss}{remaining}")

    def _remaining_time(self, state: Any) -> str:
        # Steps of an earlier run that this one resumes took time that nobody measured here.
        done = state.global_step - self._first_step
        if not done:
            return ""
        remaining = state.max_steps - state.global_step
        seconds_per_step = (time.monotonic() - self._started) / done
        seconds = seconds_per_step * remaining
        return f", about {_format_duration(seconds)} left" if seconds else ""


def _format_duration(seconds: float) -> str:
    """Format as `95 s`, `12 min` or `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _format_line(logs: dict[str, Any]) -> str:
    numbers = {}
    for key, value in logs.items():
        # A curve has numbers only, whatever else a trainer logs.
        if isinstance(value, int | float):
            numbers[key] = value
    return json.dumps(numbers) + "\n"
