"""A lake whose rows have a known worth, which the grades show with noise.

Topics differ in size. Three in ten prompts say in other words what an earlier one of their topic
says. How good a row really is, and how hard its prompt was, is drawn for each; judges, agents and
target show it as judges, agents and targets do.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, sft_row
from aidsafe_dagster.recipe.judging import policy_score
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    METRICS,
    CotGrades,
    DeliberatedCot,
    FineTuneRow,
    Grade,
    Prompt,
    PromptKind,
    RefinedCot,
    Score,
    Stage,
    TriedBelief,
    Turn,
)
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.tables import INGESTED
from tests.builders import (
    a_cot_grades,
    a_deliberated_cot,
    a_grade,
    a_prompt,
    a_refined_cot,
    a_score,
    a_tried_belief,
)

_SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ka",
    "le",
    "mi",
    "no",
    "pu",
    "ra",
    "se",
    "ti",
    "vo",
)
_ASKED = (
    "Please tell me {}",
    "Could you explain {}?",
    "I would like to know about {}",
    "What should one know of {}?",
)
_RESPONSES = {
    "en": "That depends on where you live, so ask the office that is in charge before you begin.",
    "de": "Das hängt davon ab, wo man wohnt, also sollte man vorher bei der Behörde nachfragen.",
}
_TURNS = 6
_TRIES = 4


@dataclass(frozen=True)
class Truth:
    """What is so, whatever the judges saw."""

    quality: float
    """0 to 1."""
    difficulty: float
    """0 to 1."""
    topic: int
    said: int
    """Prompts with the same number say the same."""
    prompt: Prompt
    kind: PromptKind
    policies: tuple[str, ...]
    language: str


@dataclass(frozen=True)
class Planted:
    lake: Lake
    truths: dict[str, Truth]
    """By prompt id."""


def a_planted_lake(
    folder: Path, rows: int, topics: int, seed: int = 0, batch_size: int = 500
) -> Planted:
    draw = random.Random(seed)
    truths = _truths(draw, rows, topics)
    lake = Lake(folder / "lake")
    for start in range(0, rows, batch_size):
        batch = f"planted-{start // batch_size + 1:04d}"
        _write_batch(lake, draw, truths[start : start + batch_size], batch)
    return Planted(lake, {truth.prompt.prompt_id: truth for truth in truths})


def _truths(draw: random.Random, rows: int, topics: int) -> list[Truth]:
    words = [_word(draw) for _ in range(topics * 12)]
    weights = [1 / (topic + 5) for topic in range(topics)]
    said: dict[int, list[list[str]]] = {topic: [] for topic in range(topics)}
    numbers: dict[str, int] = {}
    seen = set[str]()
    truths = list[Truth]()
    while len(truths) < rows:
        (topic,) = draw.choices(range(topics), weights)
        own = words[topic * 12 : topic * 12 + 12]
        if said[topic] and draw.random() < 0.3:
            telling = draw.choice(said[topic])
        else:
            telling = [*draw.sample(own, 4), _word(draw), _word(draw)]
            said[topic].append(telling)
        number = numbers.setdefault(" ".join(telling), len(numbers))
        shuffled = draw.sample(telling, len(telling))
        text = draw.choice(_ASKED).format(" ".join(shuffled))
        if prompt_id(text) not in seen:
            seen.add(prompt_id(text))
            truths.append(_truth(draw, text, topic, number))
    return truths


def _truth(draw: random.Random, text: str, topic: int, number: int) -> Truth:
    kinds: Sequence[PromptKind] = ("harmful", "borderline", "benign")
    # The topic decides, so that the same words are of one kind.
    kind = random.Random(topic).choices(kinds, (6, 1, 3))[0]
    particular = random.Random(-1 - topic).choices(("fraud", "illegal"), (8, 2))[0]
    policies = ("helpfulness",) if kind == "benign" else (particular, "helpfulness")
    identity = prompt_id(text)
    prompt = a_prompt(
        prompt_id=identity,
        prompt=text,
        source=draw.choices(("large", "small"), (9, 1))[0],
        cluster=identity,
    )
    return Truth(
        quality=draw.random(),
        difficulty=draw.random(),
        topic=topic,
        said=number,
        prompt=prompt,
        kind=kind,
        policies=policies,
        language=draw.choices(("en", "de"), (8, 2))[0],
    )


def _write_batch(
    lake: Lake, draw: random.Random, truths: Sequence[Truth], batch: str
) -> None:
    prompts, refined, splits = list[Prompt](), list[RefinedCot](), list[FineTuneRow]()
    deliberated, grades = list[DeliberatedCot](), list[CotGrades]()
    tried = list[TriedBelief]()
    for truth in truths:
        prompt = truth.prompt.model_copy(update={"batch": batch})
        origin: dict[str, Any] = dict(prompt)
        prompts.append(prompt)
        refined.append(
            _REFINED.model_copy(
                update={
                    **origin,
                    "applicable_policies": truth.policies,
                    "response": _RESPONSES[truth.language],
                }
            )
        )
        splits.append(sft_row(refined[-1], truth.kind, SplitSettings()))
        turns = _turns(draw, truth.difficulty)
        deliberated.append(_DELIBERATED.model_copy(update={**origin, "turns": turns}))
        grades.append(_graded(draw, truth, origin))
        tried += _tried(draw, truth, origin)
    lake.store(INGESTED, batch, prompts, Prompt)
    lake.store(Stage.DELIBERATED_COTS, batch, deliberated, DeliberatedCot, ())
    lake.store(Stage.REFINED_COTS, batch, refined, RefinedCot, ())
    lake.store(Stage.COT_GRADES, batch, grades, CotGrades, ())
    lake.store(BELIEF_CANDIDATES, batch, tried, TriedBelief)
    lake.store(Stage.FINE_TUNE_SPLITS, batch, splits, FineTuneRow, ())


_REFINED, _DELIBERATED = a_refined_cot(), a_deliberated_cot()
_GRADES, _BELIEF = a_cot_grades(), a_tried_belief()
_REVISES, _AGREES = _DELIBERATED.turns


def _turns(draw: random.Random, difficulty: float) -> tuple[Turn, ...]:
    revised = sum(draw.random() < difficulty for _ in range(_TURNS - 1))
    return (_REVISES,) * revised + (_AGREES,)


def _graded(draw: random.Random, truth: Truth, origin: dict[str, Any]) -> CotGrades:
    grades = tuple(_grade(draw, truth.quality, judge) for judge in _JUDGES)
    changes = {
        **origin,
        "prompt_kind": truth.kind,
        "grades": grades,
        "policy_score": policy_score(grades),
    }
    return _GRADES.model_copy(update=changes)


_JUDGES = ("judge", "second_judge")
_SCORES = {score: a_score(score=score) for score in range(1, 6)}
_BY_JUDGE = {judge: a_grade(judge=judge) for judge in _JUDGES}


def _grade(draw: random.Random, quality: float, judge: str) -> Grade:
    scores: dict[str, Score] = {}
    for metric in METRICS:
        seen = round(1.5 + 4 * quality + draw.gauss(0, 0.5))
        scores[metric] = _SCORES[min(5, max(1, seen))]
    return _BY_JUDGE[judge].model_copy(update=scores)


def _tried(
    draw: random.Random, truth: Truth, origin: dict[str, Any]
) -> list[TriedBelief]:
    rows = []
    # A tried belief knows no near clusters.
    known = {name: origin[name] for name in origin if name != "near_clusters"}
    for number in range(1, _TRIES + 1):
        failed = draw.random() < truth.difficulty
        changes = {
            "number": number,
            "score": 1.5 if failed else 4.5,
            "left_out": "" if failed else "rejected_above_score",
        }
        rows.append(_BELIEF.model_copy(update={**known, **changes}))
    return rows


def _word(draw: random.Random) -> str:
    return "".join(draw.choices(_SYLLABLES, k=4))
