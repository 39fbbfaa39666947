"""Who plays which part: from a request's typed inputs to the answer of the role they are for."""

from aidsafe_dagster.engines.rehearsal.deliberators import deliberated
from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan, place_of
from aidsafe_dagster.engines.rehearsal.judges import graded, place_of_subject, preferred
from aidsafe_dagster.engines.rehearsal.lines import Speaker, a_speaker
from aidsafe_dagster.engines.rehearsal.moderator import moderated
from aidsafe_dagster.engines.rehearsal.reading import declines, intents_of, looks_malicious
from aidsafe_dagster.engines.rehearsal.refiner import refined
from aidsafe_dagster.engines.rehearsal.seeds import decomposed, initialized, intents_seen
from aidsafe_dagster.engines.rehearsal.single_llm import thought_alone
from aidsafe_dagster.engines.rehearsal.whisper import answered_as_told, whispered
from aidsafe_dagster.recipe.answers import Answer
from aidsafe_dagster.recipe.beliefs import EarWhispererInputs, GuardInputs, TargetInputs
from aidsafe_dagster.recipe.deliberated_cots import DeliberatorInputs
from aidsafe_dagster.recipe.dialogue import Request
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.judging import ComparisonInputs, GradeInputs
from aidsafe_dagster.recipe.records import Intent, Role
from aidsafe_dagster.recipe.refined_cots import RefinerInputs
from aidsafe_dagster.recipe.round_table import ModeratorInputs
from aidsafe_dagster.recipe.seed_cots import InitializerInputs, IntentDecomposerInputs
from aidsafe_dagster.recipe.single_llm_cots import SingleLlmInputs

Inputs = (
    SingleLlmInputs
    | IntentDecomposerInputs
    | InitializerInputs
    | DeliberatorInputs
    | ModeratorInputs
    | RefinerInputs
    | GradeInputs
    | ComparisonInputs
    | EarWhispererInputs
    | TargetInputs
)


def answered(plan: FaultPlan, request: Request, place: str) -> Answer:  # noqa: PLR0911 - one line a part
    """What the role says.

    Raises:
        SetupError: the request is for a role that this engine does not play.
    """
    if not isinstance(request.inputs, Inputs):
        raise SetupError(
            f"the rehearsal engine has no part for the role '{request.role}'; choose another engine for it"
        )
    part = _speaker(plan, request, request.inputs, place)
    match request.inputs:
        case SingleLlmInputs():
            return thought_alone(part)
        case IntentDecomposerInputs(prompt, policies):
            return decomposed(part, malicious=looks_malicious(prompt, policies))
        case InitializerInputs(applicable=applicable):
            return initialized(part, applicable)
        case DeliberatorInputs() as inputs:
            return deliberated(part, inputs)
        case ModeratorInputs() as inputs:
            return moderated(inputs)
        case RefinerInputs() as inputs:
            return refined(part, inputs)
        case GradeInputs() as inputs:
            return graded(part, inputs, request.role)
        case ComparisonInputs() as inputs:
            return preferred(part, inputs, request.role)
        case EarWhispererInputs() as inputs:
            return whispered(part, inputs)
        case TargetInputs() as inputs:
            return answered_as_told(part, inputs)


def place_of_call(request: Request) -> str:
    """Tells the calls of a role on one prompt apart; a re-ask is at the place of what it asks again."""
    match request.inputs:
        case DeliberatorInputs(agent=agent, round=round_):
            return place_of(agent, round_)
        case ModeratorInputs(round=round_):
            return place_of(Role.MODERATOR, round_)
        case GradeInputs() | ComparisonInputs() | GuardInputs() as inputs:
            return f"{request.role} {_judged(inputs)}"
        case EarWhispererInputs() | TargetInputs():
            asked_again = len(request.messages) // 2 - 1
            return f"{request.role}@{request.turn - asked_again}"
    return request.role


def _judged(inputs: GradeInputs | ComparisonInputs | GuardInputs) -> str:
    match inputs:
        case GradeInputs(subject=subject):
            return place_of_subject(subject)
        case ComparisonInputs(first=first, second=second):
            return f"{place_of_subject(first)} {place_of_subject(second)}"
        case GuardInputs(policy=policy, subject=subject):
            return f"{policy} {place_of_subject(subject)}"


def has_to_decline(inputs: object) -> bool:
    """True when a role that might refuse to work on the prompt is in front of one that is to be declined."""
    match inputs:
        case SingleLlmInputs(prompt=prompt, policies=policies):
            return looks_malicious(prompt, policies)
        case DeliberatorInputs(prompt=prompt):
            return declines(intents_of(prompt))
    return False


def _speaker(plan: FaultPlan, request: Request, inputs: Inputs, place: str) -> Speaker:
    intents = _intents(plan, inputs)
    return a_speaker(
        plan, inputs.prompt, inputs.policies, intents=intents, place=place, draw=request.draw
    )


def _intents(plan: FaultPlan, inputs: Inputs) -> tuple[Intent, ...]:
    match inputs:
        case InitializerInputs(intents=intents):
            return intents
        case SingleLlmInputs(prompt=prompt, policies=policies):
            return intents_seen(plan, prompt, policies)
    return intents_of(inputs.prompt)
