"""What is planted in an answer, written down beside it: one line of JSON per answer, in one file.

A line is written before its answer is given, so the file knows of every answer in the journal.
What the journal replays is not asked again and writes nothing. What is asked again after a kill
writes the same line again, since answer and line are functions of the request alone. Several
processes may append at once: a line is a single write to a file opened for appending. A line cut
short by a full disk is skipped, and a missing file is an empty one: reports then count the rows
without a record.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from aidsafe_dagster.engines.rehearsal.dice import fraction
from aidsafe_dagster.engines.rehearsal.faults import Fault
from aidsafe_dagster.recipe.answers import Answer
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.judging import Subject
from aidsafe_dagster.recipe.records import Metric, Record, Role

DeservedScores = Mapping[Metric, int]


class PlantedAnswer(Record):
    """What is planted in the answer to one call."""

    model: str
    prompt_id: str
    stage: str
    role: Role
    turn: int
    draw: int
    faults: tuple[Fault, ...] = ()
    """Faults of the answer as a whole."""
    thoughts: Mapping[str, Fault] = {}
    """Faults of single thoughts, by their words."""
    subject: str = ""
    """What a judge graded; see `subject_key`."""
    deserved: Mapping[Metric, int] = {}
    """What the subject deserves, before the judge's errors."""


@dataclass(frozen=True)
class Reply:
    """A role's answer and what is planted in it, before the call itself may go wrong."""

    answer: Answer
    faults: tuple[Fault, ...] = ()
    thought_faults: Mapping[int, Fault] = field(default_factory=dict)
    """By the index of the thought in the answer."""
    subject: str = ""
    deserved: DeservedScores = field(default_factory=dict)


def subject_key(subject: Subject) -> str:
    """Name a subject by version and words: the same words get the same grade."""
    words = fraction(*subject.thoughts, subject.response)
    return f"{subject.version} {words}"


def planted_path(home: Path) -> Path:
    """Return where the records lie in the home of the settings."""
    return home / "rehearsal" / "planted.jsonl"


def append_planted(path: Path, planted: PlantedAnswer) -> None:
    """Append a record to the file.

    Raises:
        SetupError: the file cannot be written.
    """
    line = planted.model_dump_json(exclude_defaults=True) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A single write with O_APPEND: lines of several processes do not mix.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SetupError(
            f"{path}: what the rehearsal plants cannot be written ({error.strerror or error}). "
            "Make room or give access, then start again"
        ) from error


def read_planted(path: Path, model: str) -> Iterator[PlantedAnswer]:
    """Yield the records of a model, in the order of writing; none if there is no such file."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            # A file holds the records of all settings that were tried; most need no parsing.
            if f'"model":"{model}"' in line:
                with suppress(ValidationError):
                    yield PlantedAnswer.model_validate_json(line)


class PlantedRecords:
    """Records by what a lake knows of an answer: its call, a thought's words, a judge's subject."""

    def __init__(self, answers: Iterable[PlantedAnswer]) -> None:
        self._faults: dict[tuple[str, str, int, int], tuple[Fault, ...]] = {}
        self._last_turns: dict[tuple[str, str], int] = {}
        self._thoughts: dict[tuple[str, str], Fault] = {}
        self._deserved: dict[tuple[str, str, str], DeservedScores] = {}
        for planted in answers:
            prompt_id = planted.prompt_id
            # The first of a call is the pipeline's own: an ablation has calls at the same turns
            # of a stage, and makes them later.
            call = (prompt_id, planted.stage, planted.turn, planted.draw)
            self._faults.setdefault(call, planted.faults)
            place = (prompt_id, planted.stage)
            self._last_turns[place] = max(planted.turn, self._last_turns.get(place, 0))
            # By its words, since a moderator may reorder thoughts.
            for thought, fault in planted.thoughts.items():
                self._thoughts[prompt_id, thought] = fault
            if planted.subject:
                key = (prompt_id, planted.role, planted.subject)
                self._deserved[key] = planted.deserved

    def faults(
        self, prompt_id: str, stage: str, calls: int, redraws: Sequence[int]
    ) -> tuple[Fault, ...] | None:
        """Return the faults of all answers of a dialogue; None if they were not recorded.

        Args:
            prompt_id: whose dialogue it is.
            stage: the stage of the dialogue.
            calls: how many answers the dialogue got, a judge's repeated ones left out.
            redraws: the turns from which it was drawn anew.
        """
        faults: list[Fault] = []
        answers = 0
        turn = 0
        last_turn = self._last_turns.get((prompt_id, stage), 0)
        while answers < calls and turn <= last_turn:
            # A redraw also draws anew all turns that follow it.
            draw = sum(1 for redrawn in redraws if redrawn <= turn)
            planted = self._faults.get((prompt_id, stage, turn, draw))
            if planted is not None:
                faults += planted
                answers += 1
            elif turn == 0:
                return None
            # Else it is a judge's question that was put before, at another turn. It is no call.
            turn += 1
        return tuple(faults)

    def thought_fault(self, prompt_id: str, thought: str) -> Fault | None:
        """Return the fault of a thought, by its words; None if nothing is planted in it."""
        return self._thoughts.get((prompt_id, thought))

    def deserved(
        self, prompt_id: str, judge: str, subject: Subject
    ) -> DeservedScores | None:
        """Return the scores that a judge's subject deserves; None if they were not recorded."""
        return self._deserved.get((prompt_id, judge, subject_key(subject)))
