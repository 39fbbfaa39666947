"""Several processes at the same work, and who takes how much CPU meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

SERVER = "model server"
_SAMPLE_S = 0.25
_MIDDLE = (0.25, 0.75)
"""Shares of the calls between which all are at work: no process is at its start or its end."""


@dataclass(frozen=True)
class Sample:
    """The calls answered so far, and the CPU seconds so far."""

    at: float
    calls: int
    cpu_s: Mapping[str, float]
    machine_s: float


@dataclass(frozen=True)
class Load:
    """What happened in the middle of a run."""

    calls_a_second: float
    cpu_ms: Mapping[str, float]
    """CPU per call, by group."""
    machine_cores: float
    """Cores of the machine that were busy, with this or with anything else."""


class CpuMeter:
    """The CPU of groups of processes.

    Args:
        groups: the processes of each group; those that they start are counted with them.
    """

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        self._groups = groups
        # By process, since one that has ended cannot be asked.
        self._spent: dict[str, dict[int, float]] = {name: {} for name in groups}

    def spent(self) -> dict[str, float]:
        """Return the CPU seconds of each group so far.

        What a process spends after the last time that this is asked is not in it.
        """
        for name, spent in self._spent.items():
            for pid in self._groups[name]:
                spent.update(_cpu_of_family(pid))
        return {name: sum(spent.values()) for name, spent in self._spent.items()}


class Meter:
    """Samples calls and CPU while processes are at work.

    Args:
        calls: returns how many have been answered so far.
        groups: as `CpuMeter` takes them.
        server_s: returns the CPU seconds of the model server so far.
    """

    def __init__(
        self,
        calls: Callable[[], int],
        groups: Mapping[str, Sequence[int]],
        server_s: Callable[[], float],
    ) -> None:
        self._calls = calls
        self._cpu = CpuMeter(groups)
        self._server_s = server_s
        self._samples: list[Sample] = []
        self._done = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._sample_on)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()
            self._samples.append(self._sample())

    def load(self) -> Load:
        """Return what happened in the middle."""
        total = self._samples[-1].calls
        low, high = (share * total for share in _MIDDLE)
        first = next(each for each in self._samples if each.calls >= low)
        last = next(each for each in self._samples if each.calls >= high)
        calls, seconds = last.calls - first.calls, last.at - first.at
        cpu_ms = {}
        for name, cpu_s in last.cpu_s.items():
            cpu_ms[name] = 1000 * (cpu_s - first.cpu_s[name]) / calls
        return Load(
            calls_a_second=calls / seconds,
            cpu_ms=cpu_ms,
            machine_cores=(last.machine_s - first.machine_s) / seconds,
        )

    def _sample_on(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            self._samples.append(self._sample())

    def _sample(self) -> Sample:
        cpu_s = {**self._cpu.spent(), SERVER: self._server_s()}
        machine = psutil.cpu_times()
        return Sample(
            at=time.monotonic(),
            calls=self._calls(),
            cpu_s=cpu_s,
            machine_s=machine.user + machine.nice + machine.system + machine.softirq,
        )


def _cpu_of_family(pid: int) -> dict[int, float]:
    """Return the CPU seconds of a process and of those below it, by process."""
    spent: dict[int, float] = {}
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                times = each.cpu_times()
                spent[each.pid] = times.user + times.system
    return spent
