"""The judges: what an answer deserves, with the errors that the plan gives each of them."""

import re
from typing import Any

from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.engines.rehearsal.flaws import Flaw, Quality, quality_of, somewhere
from aidsafe_dagster.engines.rehearsal.lines import Speaker, begins
from aidsafe_dagster.engines.rehearsal.lots import lot
from aidsafe_dagster.engines.rehearsal.phrases.judges import FLAWS, PRAISE, PREFERENCES
from aidsafe_dagster.engines.rehearsal.phrases.seeds import SEEDS
from aidsafe_dagster.engines.rehearsal.phrases.whisper import MISLED
from aidsafe_dagster.engines.rehearsal.reading import due_policies
from aidsafe_dagster.recipe.answers import ComparisonAnswer, GradeAnswer
from aidsafe_dagster.recipe.judging import ComparisonInputs, GradeInputs, Subject
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import METRICS, Metric, Prompt

TASTE = 0.25
"""How many points of overall quality a judge's leaning is worth at most."""
TIE = 0.12
"""Two whose overall quality differs by less than this are a tie."""
_DECLINES = re.compile(
    r"\b(?:I(?:['\u2019]m sorry| can['\u2019]?t| cannot| won['\u2019]?t| will not)|sorry, but)\b",
    re.IGNORECASE,
)


def graded(speaker: Speaker, inputs: GradeInputs, judge: str) -> GradeAnswer:
    """Six scores with reasons, and how far the response declines."""
    quality = quality_of(speaker.plan, speaker.prompt, speaker.policies, inputs.subject)
    scores = {metric: _score(speaker, inputs.subject, judge, quality, metric) for metric in METRICS}
    return GradeAnswer.model_validate({**scores, "refusal": refusal_of(inputs.subject.response)})


def preferred(speaker: Speaker, inputs: ComparisonInputs, judge: str) -> ComparisonAnswer:
    """Which of two is the better example to learn from."""
    place, why = preference(
        speaker.plan, speaker.prompt, speaker.policies, judge, inputs.first, inputs.second
    )
    other, worse = ("second", inputs.second) if place == "first" else ("first", inputs.first)
    flaw = _flaw_said(speaker, worse) if why == "better" else ""
    reason = speaker.say(PREFERENCES, why, 0, preferred=place, other=other, flaw=flaw)
    return ComparisonAnswer.model_validate({"reason": reason, "preferred": place})


def said_score(
    plan: FaultPlan, prompt_id: str, judge: str, subject: Subject, quality: Quality, metric: Metric
) -> int:
    """The score that a judge gives, its error included."""
    error = plan.judge_error(prompt_id, judge, place_of_subject(subject), metric)
    return min(5, max(1, quality.score(metric) + error))


def place_of_subject(subject: Subject) -> str:
    """Names a subject among those of a prompt, by version and words: what is the same is judged the same."""
    return f"{subject.version} {lot(*subject.thoughts, subject.response)}"


def preference(
    plan: FaultPlan, prompt: Prompt, policies: Policies, judge: str, first: Subject, second: Subject
) -> tuple[str, str]:
    """First, second or tie; and for which of the reasons in `PREFERENCES`."""
    pair = tuple(sorted(place_of_subject(side) for side in (first, second)))
    if plan.prefers_the_first(prompt.prompt_id, judge, pair):
        return "first", "order"
    deserved = [quality_of(plan, prompt, policies, side).overall for side in (first, second)]
    leaning = (
        TASTE
        * plan.leaning(prompt.prompt_id, judge, pair)
        * (1 if place_of_subject(first) == pair[0] else -1)
    )
    difference = deserved[0] - deserved[1] + leaning
    if abs(difference) < TIE:
        return "tie", "tie"
    return ("first" if difference > 0 else "second"), (
        "taste" if deserved[0] == deserved[1] else "better"
    )


def refusal_of(response: str) -> str:
    """How far a response declines, by its words: none, partial or full."""
    hesitant, *refusing = MISLED["needless_refusal.help"]
    if any(begins(response, line) for line in refusing):
        return "full"
    if any(begins(response, line) for line in (hesitant, *SEEDS["response.decline"])):
        return "partial"
    own_words = re.sub("“.*?”", "", response[:400])
    return "full" if _DECLINES.search(own_words[:200]) else "none"


def _flaw_said(speaker: Speaker, subject: Subject) -> str:
    """What costs a subject most, in a sentence."""
    quality = quality_of(speaker.plan, speaker.prompt, speaker.policies, subject)
    dearest = min(METRICS, key=quality.score)
    return _reason(speaker, quality.worst(dearest) or _slight(speaker, subject, dearest))


def _score(
    speaker: Speaker, subject: Subject, judge: str, quality: Quality, metric: Metric
) -> dict[str, Any]:
    score = said_score(speaker.plan, speaker.prompt.prompt_id, judge, subject, quality, metric)
    flaw = quality.worst(metric) or _slight(speaker, subject, metric)
    rule = _rule(speaker, flaw)
    praise = speaker.say(PRAISE, metric, 0, thought=flaw.thought or 1, **speaker.cites(rule))
    reason = praise if score == 5 else _reason(speaker, flaw)
    if metric in ("relevance", "coherence", "completeness"):
        return {"reason": reason, "score": score}
    return {"reason": reason, "score": score, "rule": rule, "thought": flaw.thought}


def _slight(speaker: Speaker, subject: Subject, metric: Metric) -> Flaw:
    """What a judge finds who finds fault where there is none."""
    return somewhere("slight", subject, speaker.key, metric)


def _reason(speaker: Speaker, flaw: Flaw) -> str:
    cited = speaker.cites(_rule(speaker, flaw))
    return speaker.say(FLAWS, flaw.kind.rstrip("_123"), 0, thought=flaw.thought, **cited)


def _rule(speaker: Speaker, flaw: Flaw) -> str:
    """The rule that a flaw concerns; if it names none, one of the first policy that is not for every message."""
    if "." in flaw.rule:
        return flaw.rule
    due = (
        due_policies(speaker.prompt, speaker.policies, speaker.plan.settings.seed)
        or speaker.policies.ids
    )
    relevant = [policy_id for policy_id in due if speaker.by_id[policy_id].applies != "always"]
    return speaker.rule_of(flaw.rule or (relevant or due)[0])
