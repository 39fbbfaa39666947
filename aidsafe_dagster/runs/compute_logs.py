"""What a step prints, kept for the web UI, and nothing of Dagster's at the terminal after Ctrl-C.

Dagster captures what a step prints with four processes: two that show it at the terminal, and two
that end those should the run die. They are in the process group of the command, so Ctrl-C reaches
them as well, and each of the latter would print a traceback. Here they leave it to the command.
"""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

from aidsafe_dagster.runs.dagster_internals import (
    CapturedLogContext,
    ConfigurableClassData,
    LocalComputeLogManager,
)


class ComputeLogs(LocalComputeLogManager):
    """Named in dagster.yaml, with the configuration of Dagster's own class."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        with ExitStack() as stack:
            with _children_deaf_to_ctrl_c():
                context = stack.enter_context(super().capture_logs(log_key))
            yield context


@contextmanager
def _children_deaf_to_ctrl_c() -> Iterator[None]:
    """Let processes that are started in the block never see SIGINT; SIGTERM ends them."""
    # Blocked rather than ignored, since a blocked signal of this process arrives after the block.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
