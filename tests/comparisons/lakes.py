"""Lakes to compare: a few prompts with what became of each."""

from collections.abc import Mapping, Sequence
from typing import Any

from aidsafe_dagster.comparisons.comparison import Comparison, compare
from aidsafe_dagster.comparisons.sides import Side
from aidsafe_dagster.lake.batch_recipes import store_recipe
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.policy_texts import store_policies
from aidsafe_dagster.recipe.batch_recipe import (
    HASH,
    TEMPLATE,
    RecipePart,
    StageRecipe,
    fingerprint_of,
    policy_hash,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    CotGrades,
    Failure,
    PreferencePair,
    Prompt,
    RefinedCot,
    SeedCot,
    Stage,
    Usage,
)
from aidsafe_dagster.recipe.templates import Templates
from tests.builders import (
    a_cot_grades,
    a_failure,
    a_grade,
    a_pair,
    a_prompt,
    a_refined_cot,
    a_seed_cot,
    policies,
)

BATCH = "mine-0001"


def a_row(prompt_id: str, **changes: Any) -> dict[str, Any]:
    """Describe what became of a prompt.

    Args:
        prompt_id: of the prompt.
        changes: `response`, `score`, `refusal`, `kind`, `rules`, `cost`, `pair`, `simulated`,
            `judge_model`, `prompt`; or `failed`, a reason.
    """
    return {"prompt_id": prompt_id, **changes}


def fill(
    lake: Lake,
    rows: Sequence[Mapping[str, Any]],
    *,
    batch: str = BATCH,
    model: str = "small-chat",
    under: Policies | None = None,
    templates: Templates | None = None,
) -> None:
    """Write a batch as a run leaves it, as far as comparisons read it."""
    origins = [_origin(row, batch) for row in rows]
    made = [
        (row, origin)
        for row, origin in zip(rows, origins, strict=True)
        if not row.get("failed")
    ]
    failures = [
        a_failure(
            prompt_id=row["prompt_id"],
            batch=batch,
            stage="refined_cots",
            reason=row["failed"],
            usage=_usage(row),
        )
        for row in rows
        if row.get("failed")
    ]
    parts = (
        RecipePart(name="model", of="refiner", value=model),
        *_policies(under),
        *_templates(templates),
    )
    recipe = fingerprint_of(parts)
    own = {"model": model, "recipe": recipe}
    lake.store(Stage.PROMPTS, batch, [a_prompt(**one) for one in origins], Prompt, [])
    seeds = [_seed(row, _origin(row, batch) | own) for row in rows]
    lake.store(Stage.SEED_COTS, batch, seeds, SeedCot, [])
    refined = [_refined(row, origin | own) for row, origin in made]
    lake.store(Stage.REFINED_COTS, batch, refined, RefinedCot, failures)
    grades = [_grades(row, origin | own) for row, origin in made]
    lake.store(Stage.COT_GRADES, batch, grades, CotGrades, [])
    pairs = []
    unpaired: list[Failure] = []
    for row, origin in made:
        if row.get("pair", True):
            pairs.append(a_pair(**origin, **own, usage=Usage()))
        else:
            unpaired.append(
                a_failure(
                    prompt_id=row["prompt_id"],
                    batch=batch,
                    stage="preference_pairs",
                    reason="margin_too_small",
                    usage=Usage(),
                )
            )
    lake.store(Stage.PREFERENCE_PAIRS, batch, pairs, PreferencePair, unpaired)
    for stage in (Stage.SEED_COTS, Stage.REFINED_COTS, Stage.COT_GRADES):
        record = StageRecipe(
            batch=batch, stage=str(stage), fingerprint=recipe, parts=parts
        )
        store_recipe(lake, record)
    if under:
        store_policies(lake, under)


def a_side(lake: Lake, name: str = "a", currency: str = "") -> Side:
    batches = lake.batches(Stage.PROMPTS)
    return Side(
        name=name,
        description="",
        lakes=dict.fromkeys(batches, lake),
        texts=lake,
        currency=currency,
    )


def compared(a: Lake, b: Lake, **changes: Any) -> Comparison:
    return compare(a_side(a), a_side(b, "b"), **changes)


def other_policies() -> Policies:
    """The policies of the builders, with another first rule and one policy more."""
    first, *others = policies().policies
    number = next(iter(first.rules))
    changed = first.model_copy(
        update={"rules": {**first.rules, number: "Say why, in one sentence."}}
    )
    added = first.model_copy(update={"id": "privacy", "title": "Privacy"})
    return Policies(policies=(changed, *others, added))


def _templates(templates: Templates | None) -> list[RecipePart]:
    if templates is None:
        return []
    parts = []
    for name, digest in templates.hashes(Stage.REFINED_COTS).items():
        parts.append(RecipePart(name=TEMPLATE, of=name, value=f"{HASH}{digest}"))
    return parts


def _policies(under: Policies | None) -> list[RecipePart]:
    parts = []
    for policy in under.policies if under else ():
        value = policy_hash(policy)
        parts.append(RecipePart(name="policies", of=policy.id, value=value))
    return parts


def _origin(row: Mapping[str, Any], batch: str) -> dict[str, Any]:
    prompt = row.get("prompt", f"What about {row['prompt_id']}?")
    return {"prompt_id": row["prompt_id"], "batch": batch, "prompt": prompt}


def _usage(row: Mapping[str, Any]) -> Usage:
    cost = row.get("cost", 0.0)
    return Usage(calls=2, prompt_tokens=600, completion_tokens=120, cost=cost)


def _seed(row: Mapping[str, Any], own: Mapping[str, Any]) -> SeedCot:
    simulated = row.get("simulated", False)
    return a_seed_cot(**own, usage=Usage(), simulated=simulated)


def _refined(row: Mapping[str, Any], own: Mapping[str, Any]) -> RefinedCot:
    changes: dict[str, Any] = {
        "usage": _usage(row),
        "simulated": row.get("simulated", False),
    }
    if "response" in row:
        changes["response"] = row["response"]
    if "rules" in row:
        plain = a_refined_cot().thoughts
        thoughts = [one.model_copy(update={"rules": row["rules"]}) for one in plain]
        changes["thoughts"] = tuple(thoughts)
    return a_refined_cot(**own, **changes)


def _grades(row: Mapping[str, Any], own: Mapping[str, Any]) -> CotGrades:
    grade = a_grade(
        row.get("score", 5),
        refusal=row.get("refusal", "none"),
        model=row.get("judge_model", "small-chat"),
    )
    return a_cot_grades(
        **own,
        prompt_kind=row.get("kind", "borderline"),
        grades=(grade,),
        comparisons=(),
        usage=Usage(),
    )
