"""What a benchmark can be told, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Sizes; None: the benchmark's own."""

    rows: int | None = None
    slots: int = 64
    pace: float = 1.0
    """How many times as fast as a call of 1.3 s the server is."""

    @property
    def server(self) -> str:
        return described(self.slots, self.pace)


def described(slots: int, pace: float) -> str:
    """The server in words."""
    return f"{slots} slots, calls of {1.3 / pace:.2g} s"


@dataclass(frozen=True)
class Section:
    """A table of results, with what one has to know to read it."""

    title: str
    about: str
    columns: Sequence[str]
    lines: Sequence[Sequence[object]]
    remarks: Sequence[str] = ()

    def markdown(self) -> str:
        head = [f"| {' | '.join(self.columns)} |", f"|{'---|' * len(self.columns)}"]
        body = [f"| {' | '.join(map(str, line))} |" for line in self.lines]
        remarks = [f"- {remark}" for remark in self.remarks]
        return "\n".join(
            [
                f"## {self.title}",
                "",
                self.about,
                "",
                *head,
                *body,
                *(["", *remarks] if remarks else []),
                "",
            ]
        )
