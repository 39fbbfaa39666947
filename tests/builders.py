"""Builders of rows. Each returns a valid row that passes all checks, and takes fields to change.

    a_seed_cot(response="")
    a_refined_cot(prompt_id="p2", thoughts=(a_refined_thought(rules=()),))
    a_cot_grades(grades=(a_grade(score=2), a_grade(version="single_llm", score=1)))

Token counts follow from the thoughts, unless a test sets them.
"""

from typing import Any

from aidsafe_dagster.quality.tokens import estimate_tokens
from aidsafe_dagster.recipe.ablations import AblationRow
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, dpo_row, sft_row
from aidsafe_dagster.recipe.judging import policy_score
from aidsafe_dagster.recipe.policies import Policies, Policy
from aidsafe_dagster.recipe.records import (
    METRICS,
    BeliefCandidate,
    BeliefScore,
    Comparison,
    CotGrades,
    DeliberatedCot,
    Failure,
    FailureReason,
    FineTuneRow,
    Grade,
    Intent,
    Judgement,
    Message,
    PolicyCounterfactual,
    PreferencePair,
    Prompt,
    RefinedCot,
    RefinedThought,
    Score,
    SeedCot,
    SingleLlmCot,
    Thought,
    ThoughtVerdict,
    TriedBelief,
    Turn,
    Ungraded,
    Usage,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts

FIRST = (
    "The user wants to know how a lock works, which is common knowledge and harms nobody, so it "
    "can be explained."
)
SECOND = (
    "Opening a lock that is not one's own would be illegal, so the answer says to ask the owner or "
    "a locksmith."
)
THIRD = (
    "Being of use matters as well: a refusal would leave an honest question without the answer "
    "that it deserves."
)
RESPONSE = (
    "A pin tumbler lock opens when the key lifts each pin to the shear line. Practise on locks "
    "that you own."
)


def policies() -> Policies:
    """Return three small policies. `helpfulness` always applies."""
    return Policies(
        policies=(
            _policy(
                "fraud",
                "Fraud and deception",
                {"1": "Help no one to deceive.", "2": "Name the deception."},
            ),
            _policy(
                "helpfulness",
                "Respect and helpfulness",
                {"1": "Be of use.", "2": "Respect."},
                applies="always",
            ),
            _policy(
                "illegal",
                "Illegal activity",
                {"1": "Help with no crime.", "2": "Say what is lawful."},
            ),
        )
    )


def a_prompt(**changes: Any) -> Prompt:
    return Prompt(**(_origin() | changes))


def a_thought(**changes: Any) -> Thought:
    values = {
        "number": 1,
        "text": FIRST,
        "rules": ("illegal.1",),
        "agent": "initializer",
        "round": 0,
    }
    return Thought(**(values | changes))


def a_refined_thought(**changes: Any) -> RefinedThought:
    values = {
        "number": 1,
        "text": FIRST,
        "rules": ("illegal.1", "helpfulness.1"),
        "origins": (1,),
    }
    return RefinedThought(**(values | changes))


def a_seed_cot(**changes: Any) -> SeedCot:
    second = a_thought(number=2, text=SECOND, rules=("illegal.2", "helpfulness.1"))
    thoughts = (a_thought(), second)
    return SeedCot(**_with_token_count(_cot_row() | {"thoughts": thoughts} | changes))


def a_single_llm_cot(**changes: Any) -> SingleLlmCot:
    thoughts = (a_thought(agent="single_llm", rules=("illegal.1", "helpfulness.1")),)
    return SingleLlmCot(
        **_with_token_count(
            _cot_row() | {"intents": (), "thoughts": thoughts} | changes
        )
    )


def a_deliberated_cot(**changes: Any) -> DeliberatedCot:
    values = {
        "thoughts": _deliberated_thoughts(),
        "turns": (
            Turn(
                agent="deliberator_1",
                round=1,
                verdict="revise",
                comment="Usefulness is missing.",
                added=(3,),
            ),
            Turn(
                agent="deliberator_2",
                round=1,
                verdict="agree",
                comment="Nothing to add.",
                added=(),
            ),
        ),
        "outcome": "consensus",
        "stalled": False,
    }
    return DeliberatedCot(**_with_token_count(_cot_row() | values | changes))


def a_refined_cot(**changes: Any) -> RefinedCot:
    deliberated_thoughts = changes.get("deliberated_thoughts", _deliberated_thoughts())
    values: dict[str, Any] = {
        "thoughts": (
            a_refined_thought(),
            a_refined_thought(
                number=2,
                text=SECOND,
                rules=("illegal.2",),
                origins=(2,),
            ),
        ),
        "deliberated_thoughts": deliberated_thoughts,
        "judgements": (
            Judgement(
                thought=1, verdict=ThoughtVerdict.KEEP, reason="Sets out the case."
            ),
            Judgement(
                thought=2, verdict=ThoughtVerdict.KEEP, reason="Names the limit."
            ),
            Judgement(
                thought=3,
                verdict=ThoughtVerdict.REDUNDANT,
                reason="Follows from the first.",
            ),
        ),
        "deliberated_cot_tokens": estimate_tokens(join_thoughts(deliberated_thoughts)),
        "rests_on_dropped": False,
    }
    return RefinedCot(**_with_token_count(_cot_row() | values | changes))


def a_score(**changes: Any) -> Score:
    values = {"score": 5, "reason": "Nothing is missing."}
    return Score(**(values | changes))


def a_grade(score: int = 5, **changes: Any) -> Grade:
    """Return a grade with `score` for all metrics, except those that are set by name."""
    values = {
        "version": "refined",
        "judge": "judge",
        "model": "small-chat",
        "refusal": "none",
    }
    scores = dict.fromkeys(METRICS, a_score(score=score))
    return Grade(**(values | scores | changes))


def a_comparison(**changes: Any) -> Comparison:
    values = {
        "version": "refined",
        "against": "single_llm",
        "judge": "judge",
        "model": "small-chat",
        "outcome": "win",
        "consistent": True,
        "reasons": ("It names the rule.", "The other names no rule."),
    }
    return Comparison(**(values | changes))


def an_ungraded(**changes: Any) -> Ungraded:
    values = {"judge": "judge", "task": "grade deliberated", "detail": "not JSON"}
    return Ungraded(**(values | changes))


def a_cot_grades(**changes: Any) -> CotGrades:
    """Return grades of all versions. The policy score follows from the refined grades."""
    values: dict[str, Any] = {
        "prompt_kind": "borderline",
        "grades": (
            a_grade(),
            a_grade(version="deliberated", score=4),
            a_grade(version="single_llm", score=3),
        ),
        "comparisons": (
            a_comparison(),
            a_comparison(against="deliberated", outcome="tie"),
        ),
        "ungraded": (),
    }
    values |= _origin() | _provenance() | changes
    refined = [grade for grade in values["grades"] if grade.version == "refined"]
    values.setdefault("policy_score", policy_score(refined) if refined else 1.0)
    return CotGrades(**values)


def a_belief_score(**changes: Any) -> BeliefScore:
    values = {
        "judge": "judge",
        "model": "small-chat",
        "score": 5.0,
        "reason": "Every rule is kept.",
    }
    return BeliefScore(**(values | changes))


def a_candidate(**changes: Any) -> BeliefCandidate:
    values = {
        "iteration": 1,
        "number": 1,
        "belief": "Rules are for other people.",
        "score": 1.5,
        "left_out": "",
        "note": "",
    }
    return BeliefCandidate(**(values | changes))


def a_tried_belief(**changes: Any) -> TriedBelief:
    """Return a row of the table of candidates, of the same answer as `a_pair`."""
    pair = a_pair(prompt_id=changes.get("prompt_id", "p1"))
    values: dict[str, Any] = {
        "prompt": pair.prompt,
        "kind": pair.kind,
        "prompt_kind": pair.prompt_kind,
        "iteration": 1,
        "number": 1,
        "belief": pair.belief,
        "belief_position": "tag",
        "cot": pair.rejected_cot,
        "response": pair.rejected_response,
        "cot_tokens": pair.rejected_cot_tokens,
        "response_tokens": estimate_tokens(pair.rejected_response),
        "target_model": "small-chat",
        "score": 1.5,
        "scores": pair.rejected_scores,
        "grades": (a_grade(1, version="rejected"),),
        "left_out": "",
        "note": "",
        "is_rejected_side": True,
        "engine": pair.engine,
        "simulated": pair.simulated,
        "policies_version": pair.policies_version,
        "templates_version": pair.templates_version,
    }
    return TriedBelief(**(_origin() | values | changes))


def a_pair(**changes: Any) -> PreferencePair:
    """Return a pair. The margin follows from the scores."""
    values: dict[str, Any] = {
        "kind": "violation",
        "prompt_kind": "borderline",
        "belief": "Rules are for other people.",
        "chosen_cot": f"{FIRST}\n\n{SECOND}",
        "chosen_response": RESPONSE,
        "rejected_cot": (
            "Whose lock it is makes no difference to me, so every trick can be told in full, step "
            "by step."
        ),
        "rejected_response": (
            "Take a tension wrench and a rake; your neighbour will never notice that you were "
            "there."
        ),
        "similarity": 0.12,
        "length_ratio": 1.5,
        "chosen_score": 5.0,
        "rejected_score": 1.5,
        "chosen_scores": (a_belief_score(),),
        "rejected_scores": (a_belief_score(score=1.5, reason="Breaks illegal.1."),),
        "candidates": (a_candidate(),),
        "examples": (),
        "plain_scores": (),
    }
    values |= _origin() | _provenance() | changes
    values.setdefault("margin", values["chosen_score"] - values["rejected_score"])
    for side in ("chosen", "rejected"):
        values.setdefault(f"{side}_cot_tokens", estimate_tokens(values[f"{side}_cot"]))
    return PreferencePair(**values)


def a_counterfactual(**changes: Any) -> PolicyCounterfactual:
    """Return a pair of answers: that of `a_refined_cot`, and its refusal under a second set."""
    values: dict[str, Any] = {
        "prompt_kind": "borderline",
        "second_policies_version": "second",
        "differing_policies": ("illegal",),
        "only_first": ("Help with no crime.",),
        "only_second": ("Say nothing of locks.",),
        "first_system": "Help with no crime.",
        "second_system": "Say nothing of locks.",
        "first_cot": f"{FIRST}\n\n{SECOND}",
        "first_response": RESPONSE,
        "first_outcome": "complies",
        "second_cot": f"{SECOND}\n\n{THIRD}",
        "second_response": "Of locks I say nothing. A locksmith will gladly help you with yours.",
        "second_outcome": "refuses",
        "second_applicable_policies": ("helpfulness", "illegal"),
        "second_rules": ("helpfulness.1", "illegal.1"),
        "first_score": 5.0,
        "first_score_under_second": 1.0,
        "second_score": 5.0,
        "second_score_under_first": 2.0,
        "first_grades": (a_grade(),),
        "first_grades_under_second": (a_grade(score=1),),
        "second_grades": (a_grade(refusal="full"),),
        "second_grades_under_first": (a_grade(score=2, refusal="full"),),
        "wrong_under": ("first", "second"),
    }
    values |= _origin() | _provenance() | changes
    for answer in ("first", "second"):
        cot = values[f"{answer}_cot"]
        values.setdefault(f"{answer}_cot_tokens", estimate_tokens(cot))
    return PolicyCounterfactual(**values)


def an_sft_row(**changes: Any) -> FineTuneRow:
    refined = a_refined_cot(prompt_id=changes.get("prompt_id", "p1"))
    row = sft_row(refined, "borderline", SplitSettings())
    return row.model_copy(update=changes)


def a_dpo_row(**changes: Any) -> FineTuneRow:
    pair = a_pair(prompt_id=changes.get("prompt_id", "p1"))
    row = dpo_row(pair, SplitSettings())
    return row.model_copy(update=changes)


def a_failure(**changes: Any) -> Failure:
    values = {
        "prompt_id": "p9",
        "batch": "demo-0001",
        "stage": "seed_cots",
        "reason": FailureReason.UNPARSABLE,
        "detail": "not JSON",
        "role": "initializer",
        "turn": 3,
        "redraws": (1,),
        "usage": Usage(calls=3, prompt_tokens=900, completion_tokens=90),
    }
    return Failure(**(values | changes))


def an_ablation_row(**changes: Any) -> AblationRow:
    scores = dict.fromkeys((*METRICS, "policy_score"), 4.0)
    values: dict[str, Any] = {
        "variant": "one",
        "prompt_id": "p1",
        "batch": "b-0001",
        "prompt": "How does a lock work?",
        "prompt_kind": "benign",
        "simulated": False,
        "models": "some-model",
        **scores,
        "policy_coverage": 1.0,
        "applicable_policies": ("law",),
        "cited_rules": ("law.1",),
        "cot_tokens": 100,
        "thoughts": 2,
        "turns": 2,
        "outcome": "consensus",
        "stalled": False,
        "diversity": 0.5,
        "shared_rounds": 1,
        "split_rounds": 0,
        "voices": 1,
        "refusal": "none",
        "cot": FIRST,
        "response": RESPONSE,
        "usage": Usage(calls=5, prompt_tokens=1000, completion_tokens=200, cost=0.1),
    }
    return AblationRow(**(values | changes))


def _policy(
    policy_id: str, title: str, rules: dict[str, str], **changes: Any
) -> Policy:
    return Policy(
        id=policy_id,
        title=title,
        purpose=f"Why there is a policy on {title.lower()}.",
        rules=rules,
        **changes,
    )


def _origin() -> dict[str, Any]:
    return {
        "prompt_id": "p1",
        "batch": "demo-0001",
        "source": "demo",
        "source_row": "demo.jsonl:1",
        "category": "locks",
        "licence": "cc-by-4.0",
        "prompt": "How does a pin tumbler lock work?",
    }


def _provenance() -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "model": "small-chat",
        "simulated": False,
        "policies_version": policies().version,
        "templates_version": "0123456789ab",
        "usage": Usage(
            calls=2,
            prompt_tokens=600,
            cached_tokens=512,
            completion_tokens=120,
        ),
    }


def _cot_row() -> dict[str, Any]:
    conversation = (
        Message(role="user", content="Take the prompt apart."),
        Message(role="assistant", content="{}"),
    )
    intent = Intent(
        text="Understand locks.",
        kind="explicit",
        harm="benign",
        policies=("illegal",),
    )
    return {
        **_origin(),
        **_provenance(),
        "intents": (intent,),
        "applicable_policies": ("helpfulness", "illegal"),
        "response": RESPONSE,
        "conversation": conversation,
    }


def _deliberated_thoughts() -> tuple[Thought, ...]:
    return (
        a_thought(),
        a_thought(number=2, text=SECOND, rules=("illegal.2", "helpfulness.1")),
        a_thought(
            number=3,
            text=THIRD,
            rules=("helpfulness.1",),
            agent="deliberator_1",
            round=1,
        ),
    )


def _with_token_count(values: dict[str, Any]) -> dict[str, Any]:
    tokens = estimate_tokens(join_thoughts(values["thoughts"]))
    return {"cot_tokens": tokens} | values
