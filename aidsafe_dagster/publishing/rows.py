"""Rows of the published configs: a training format each, with lineage and scores beside it.

`sft` and `dpo` are what TRL trains on, `selected` the best rows of `sft`. `deliberations` has the
columns of the paper's release, and every thought with its author, round, rules and verdict. The
others are what was judged, in the format of the trainer that learns from it (`feedback_formats`).
"""

from collections.abc import Mapping
from typing import Any

from aidsafe_dagster.recipe.counterfactual_formats import PolicyAnswer
from aidsafe_dagster.recipe.deliberation_log import DeliberationStory
from aidsafe_dagster.recipe.format_types import Column, Columns, Reasoning, RowKind
from aidsafe_dagster.recipe.formats import FORMATS
from aidsafe_dagster.recipe.records import FineTuneRow, PreferencePair, RefinedCot
from aidsafe_dagster.selection.records import SelectionRow

LINEAGE: Columns = {
    "prompt_kind": Column(
        "string", "benign, borderline or harmful, by the prompt's intents"
    ),
    "source": Column("string", "source of the prompt"),
    "source_row": Column("string", "position of the prompt in its source"),
    "category": Column("string", "category that the source gives the prompt, or empty"),
    "licence": Column("string", "licence of the prompt"),
    "batch": Column("string", "batch in which the row was made"),
    "model": Column("string", "model(s) that answered at the last stage"),
    "policies_version": Column("string", "hash of the policies in force"),
    "templates_version": Column(
        "string", "hash of the prompt templates of the last stage"
    ),
}
_PAIR: Columns = {
    "kind": Column(
        "string", "what is wrong with the rejected side: violation or needless_refusal"
    ),
    "score_chosen": Column(
        "float", "policy score of the chosen side, 1 to 5, mean of the judges"
    ),
    "score_rejected": Column(
        "float", "policy score of the rejected side, 1 to 5, mean of the judges"
    ),
}
_SELECTED: Columns = {
    "rank": Column(
        "int", "1-based place: the first row is the one that was chosen first"
    ),
    "policy": Column("string", "the rarest of the policies that apply to the row"),
    "language": Column("string", "language of the prompt, as a code"),
    "quality": Column("float", "1 to 5: mean of the six metrics over the judges"),
    "difficulty": Column(
        "float", "0 to 1: failures of the target, disagreement of agents and judges"
    ),
    "why": Column("string", "why the row was chosen"),
}
_STORY: Columns = {
    "intents": Column("intents", "intents behind the prompt, and how each was judged"),
    "applicable_policies": Column(
        "strings", "policies that the final chain of thought must cover"
    ),
    "thoughts": Column(
        "thoughts",
        "final thoughts: rules applied, and the deliberated thoughts behind each",
    ),
    "deliberated_thoughts": Column(
        "judged_thoughts",
        "every thought: author, round, rules and the refiner's verdict",
    ),
    "turns": Column("turns", "every deliberator's turn: verdict and comment"),
    "outcome": Column("string", "why deliberation stopped: consensus or budget"),
}
FEEDBACK: Mapping[RowKind, str] = {
    "prm": "trl-prm",
    "kto": "trl-kto",
    "reward": "trl-reward",
    "guard": "guard",
    "grpo": "trl-grpo",
}
"""Config → the format that it has."""
COUNTERFACTUALS: Mapping[RowKind, str] = {
    "counterfactual_sft": "counterfactual-sft",
    "counterfactual_dpo": "counterfactual-dpo",
}
"""Config → the format that it has: one prompt under two sets of policies."""
_CONTRAST: Columns = {
    "outcome": Column(
        "string", "what the right answer comes to: complies, complies in part, refuses"
    ),
    "score": Column("float", "policy score of the right answer under this set, 1 to 5"),
    "other_score": Column(
        "float", "policy score of the answer of the other set under this one"
    ),
    "differing_policies": Column(
        "strings", "policies that bear on the prompt and differ between the sets"
    ),
}
CONFIGS: Mapping[RowKind, Columns] = {
    "sft": {**FORMATS["trl-sft"].columns, **LINEAGE},
    "selected": {**FORMATS["trl-sft"].columns, **_SELECTED, **LINEAGE},
    "dpo": {**FORMATS["trl-dpo"].columns, **_PAIR, **LINEAGE},
    "deliberations": {**FORMATS["deliberations"].columns, **_STORY, **LINEAGE},
    **{kind: {**FORMATS[name].columns, **LINEAGE} for kind, name in FEEDBACK.items()},
    **{
        kind: {**FORMATS[name].columns, **_CONTRAST, **LINEAGE}
        for kind, name in COUNTERFACTUALS.items()
    },
}
"""Config → its columns. None is named as a column that its trainer would read otherwise."""


def published_sft(row: FineTuneRow, reasoning: Reasoning) -> dict[str, Any]:
    return FORMATS["trl-sft"].convert(row, reasoning) | _lineage(row)


def published_selected(
    row: FineTuneRow, selected: SelectionRow, reasoning: Reasoning
) -> dict[str, Any]:
    """Return an SFT row of the selection, with the reason why it is there."""
    return published_sft(row, reasoning) | selected.model_dump(include={*_SELECTED})


def published_dpo(
    row: FineTuneRow, pair: PreferencePair, reasoning: Reasoning
) -> dict[str, Any]:
    scores = {
        "kind": pair.kind,
        "score_chosen": pair.chosen_score,
        "score_rejected": pair.rejected_score,
    }
    columns = FORMATS["trl-dpo"].convert(row, reasoning)
    return columns | scores | _lineage(row)


def published_deliberation(
    row: FineTuneRow, story: DeliberationStory
) -> dict[str, Any]:
    refined, deliberated = story.refined, story.deliberated
    turns, outcome = [], None
    # The lake may hold the refined row without the deliberation behind it.
    if deliberated is not None:
        turns = [turn.model_dump(mode="json") for turn in deliberated.turns]
        outcome = deliberated.outcome
    details = {
        "intents": [intent.model_dump(mode="json") for intent in refined.intents],
        "applicable_policies": list(refined.applicable_policies),
        "thoughts": [thought.model_dump(mode="json") for thought in refined.thoughts],
        "deliberated_thoughts": _judged_thoughts(refined),
        "turns": turns,
        "outcome": outcome,
    }
    columns = FORMATS["deliberations"].convert(story, "inline")
    return columns | details | _lineage(row)


def published_feedback(
    row: FineTuneRow, kind: RowKind, behind: Any, reasoning: Reasoning
) -> dict[str, Any]:
    """Return a row of what was judged.

    Args:
        row: the SFT row of its prompt.
        kind: of the rows, one of `FEEDBACK`.
        behind: what the format converts.
        reasoning: where an assistant turn has it.
    """
    return FORMATS[FEEDBACK[kind]].convert(behind, reasoning) | _lineage(row)


def published_counterfactual(
    row: FineTuneRow, kind: RowKind, answer: PolicyAnswer, reasoning: Reasoning
) -> dict[str, Any]:
    """Return a prompt under one of two sets of policies; model and versions are of that answer."""
    pair = answer.pair
    if answer.policy_set == "first":
        contrast = {
            "outcome": pair.first_outcome,
            "score": pair.first_score,
            "other_score": pair.second_score_under_first,
        }
        versions = {}
    else:
        contrast = {
            "outcome": pair.second_outcome,
            "score": pair.second_score,
            "other_score": pair.first_score_under_second,
        }
        versions = {
            "model": pair.model,
            "policies_version": pair.second_policies_version,
            "templates_version": pair.templates_version,
        }
    columns = FORMATS[COUNTERFACTUALS[kind]].convert(answer, reasoning)
    differing = {"differing_policies": list(pair.differing_policies)}
    return columns | contrast | differing | _lineage(row) | versions


def _judged_thoughts(refined: RefinedCot) -> list[dict[str, Any]]:
    judgements = {judgement.thought: judgement for judgement in refined.judgements}
    thoughts = []
    for thought in refined.deliberated_thoughts:
        judgement = judgements[thought.number]
        verdict = {"verdict": str(judgement.verdict), "reason": judgement.reason}
        thoughts.append(thought.model_dump(mode="json") | verdict)
    return thoughts


def _lineage(row: FineTuneRow) -> dict[str, Any]:
    return {column: getattr(row, column) for column in LINEAGE}
