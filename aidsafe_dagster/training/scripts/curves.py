"""The curves of a training: a line of `metrics.jsonl` per log step, and a line of progress on standard output."""

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


class Curves(TrainerCallback):  # type: ignore[misc]
    """Written anew from the trainer's own history when a training goes on, so that no step is there twice."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._started, self._first_step = time.monotonic(), 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:  # noqa: ARG002
        self._started, self._first_step = time.monotonic(), state.global_step
        if state.is_world_process_zero:
            self._file.write_text("".join(_line(logs) for logs in state.log_history), "utf-8")

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **others: Any
    ) -> None:
        if not logs or not state.is_world_process_zero:
            return
        with self._file.open("a", encoding="utf-8") as file:
            file.write(_line(logs | {"step": state.global_step}))
        for key, what in (("loss", "loss"), ("eval_loss", "loss on the validation split")):
            if key in logs:
                print(
                    f"step {state.global_step} of {state.max_steps}: {what} {logs[key]:.4f}{self._to_go(state)}"
                )

    def _to_go(self, state: Any) -> str:
        done, left = state.global_step - self._first_step, state.max_steps - state.global_step
        seconds = (time.monotonic() - self._started) / done * left if done else 0
        return f", about {_lasting(seconds)} to go" if seconds else ""


def _lasting(seconds: float) -> str:
    """`95 s`, `12 min`, `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _line(logs: dict[str, Any]) -> str:
    return (
        json.dumps({key: value for key, value in logs.items() if isinstance(value, int | float)})
        + "\n"
    )
