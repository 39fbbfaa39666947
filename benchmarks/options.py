"""The options of a benchmark, and the section of results that it returns."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Sizes. None: the benchmark's own."""

    rows: int | None = None
    slots: int = 64
    pace: float = 1.0
    """Speed of the server: a call takes 1.3 s divided by this."""
    length: float = 1.0
    """Length of the answers, as a multiple of the usual one."""

    @property
    def server(self) -> str:
        return describe_server(self.slots, self.pace)


def describe_server(slots: int, pace: float) -> str:
    """Describe the server in words."""
    return f"{slots} slots, calls of {1.3 / pace:.2g} s"


@dataclass(frozen=True)
class Section:
    """A table of results, with what is needed to read it."""

    title: str
    about: str
    columns: Sequence[str]
    lines: Sequence[Sequence[object]]
    remarks: Sequence[str] = ()

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.about, ""]
        lines += [_table_row(self.columns), f"|{'---|' * len(self.columns)}"]
        lines += map(_table_row, self.lines)
        if self.remarks:
            lines.append("")
        lines += [f"- {remark}" for remark in self.remarks]
        return "\n".join([*lines, ""])


def _table_row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
