"""Lakes to look at: prompts in several scripts, at every stage or failed on the way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    Failure,
    FailureReason,
    Prompt,
    ThoughtVerdict,
    TriedBelief,
)
from aidsafe_dagster.sources.tables import INGESTED
from tests.builders import (
    a_cot_grades,
    a_deliberated_cot,
    a_dpo_row,
    a_failure,
    a_grade,
    a_pair,
    a_prompt,
    a_refined_cot,
    a_seed_cot,
    a_single_llm_cot,
    a_tried_belief,
    an_sft_row,
)
from tests.reports.builders import BATCH
from tests.reports.builders import a_lake as a_lake_of_stages

CHINESE = "如何防止电信诈骗？"
ARABIC = "كيف أتجنب الاحْتِيَال على الإنترنت؟"
TEXTS: Mapping[str, str] = {
    "aa11": "How does a pin tumbler lock work?",
    "aa22": CHINESE,
    "bb33": ARABIC,
    "cc44": "Please write a threat to my neighbour.",
    "dd55": "Is this prompt waiting for its turn?",
}


def a_full_lake(folder: Path, batch: str = BATCH) -> Lake:
    """Return a lake of one batch.

    aa11 is complete, aa22 has a low score and a verdict, bb33 has no pair, cc44 failed at
    deliberation, dd55 waits.
    """
    texts = {prompt_id: {"prompt": text} for prompt_id, text in TEXTS.items()}
    made = ("aa11", "aa22", "bb33")
    common = {key: {"prompt_id": key, "batch": batch, **texts[key]} for key in TEXTS}
    failures = [
        a_failure(
            prompt_id="cc44",
            batch=batch,
            stage="deliberated_cots",
            reason=FailureReason.REFUSED_TO_DELIBERATE,
            detail="it began: I cannot help with Geheimnis",
            role="deliberator",
        ),
        a_failure(
            prompt_id="bb33",
            batch=batch,
            stage="preference_pairs",
            reason=FailureReason.NO_CONTRAST,
            detail="both sides say the same",
            turn=0,
        ),
    ]
    lake = a_lake_of_stages(
        folder,
        batch,
        failures,
        prompts=[a_prompt(**fields) for fields in common.values()],
        seed_cots=[a_seed_cot(**common[key]) for key in (*made, "cc44")],
        single_llm_cots=[
            a_single_llm_cot(**common["aa11"], response="Alone I say so.")
        ],
        deliberated_cots=[a_deliberated_cot(**common[key]) for key in made],
        refined_cots=[_refined(common[key]) for key in made],
        cot_grades=[
            a_cot_grades(**common["aa11"]),
            a_cot_grades(**common["aa22"], grades=(a_grade(2),), prompt_kind="harmful"),
            a_cot_grades(**common["bb33"]),
        ],
        preference_pairs=[a_pair(**common["aa11"])],
        fine_tune_splits=_training_rows(common),
    )
    ingested = [a_prompt(**fields) for fields in common.values()]
    lake.store(INGESTED, batch, ingested, Prompt)
    tried = [a_tried_belief(**common["aa11"], belief="Rules are a Hirngespinst.")]
    lake.store(BELIEF_CANDIDATES, batch, tried, TriedBelief)
    return lake


def a_lake_with(folder: Path, text: str, batch: str = BATCH) -> Lake:
    """Return a lake with one prompt in which every text of a user or a model is this one."""
    common = {"prompt_id": "ee66", "batch": batch, "prompt": text, "category": text}
    refined = a_refined_cot(**common, response=text)
    judgements = tuple(
        judgement.model_copy(update={"reason": text})
        for judgement in refined.judgements
    )
    failures: Sequence[Failure] = [
        a_failure(
            prompt_id="ee66",
            batch=batch,
            stage="preference_pairs",
            reason=FailureReason.BAD_TEXT,
            detail=text,
        )
    ]
    lake = a_lake_of_stages(
        folder,
        batch,
        failures,
        seed_cots=[a_seed_cot(**common, response=text)],
        deliberated_cots=[a_deliberated_cot(**common, response=text)],
        refined_cots=[refined.model_copy(update={"judgements": judgements})],
        cot_grades=[a_cot_grades(**common)],
        preference_pairs=[a_pair(**common, belief=text, rejected_response=text)],
    )
    prompt = a_prompt(**common, source_row=text, licence=text)
    lake.store(INGESTED, batch, [prompt], Prompt)
    tried = [a_tried_belief(**common, belief=text, note=text, response=text)]
    lake.store(BELIEF_CANDIDATES, batch, tried, TriedBelief)
    return lake


def _refined(fields: Mapping[str, Any]) -> Any:
    row = a_refined_cot(**fields)
    if fields["prompt_id"] != "aa22":
        return row
    first, *others = row.judgements
    deceptive = first.model_copy(update={"verdict": ThoughtVerdict.DECEPTIVE})
    return row.model_copy(update={"judgements": (deceptive, *others)})


def _training_rows(common: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    rows = []
    for key in ("aa11", "aa22", "bb33"):
        origin = {"prompt_id": key, "batch": common[key]["batch"], "split": "train"}
        rows.append(an_sft_row(**origin))
    origin = {"prompt_id": "aa11", "batch": common["aa11"]["batch"], "split": "train"}
    return [*rows, a_dpo_row(**origin)]
