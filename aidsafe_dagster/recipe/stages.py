"""The table of stages: the graph of the recipe, written down once.

    prompts → seed_cots → deliberated_cots → refined_cots → cot_grades → preference_pairs →
    fine_tune_splits
       └────→ single_llm_cots (the baseline) ···················┘ └─→ policy_counterfactuals

Everything that differs from stage to stage is a field of its `StageDefinition`: what a row is, what
it is made from, who speaks, with which templates, in which dialogue, what a row must pass, which
suites judge the partition, and how a person reads a row. Assets, gates, checks, read-ahead, the
lake, reports and the command line all read this table.

A stage of your own is one more entry (`add_stage`), with a module for its dialogue, a template, and
an asset. `docs/architecture.md` shows the steps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aidsafe_dagster.recipe.beliefs import BeliefSearch, choose_pair_kind
from aidsafe_dagster.recipe.cot_grades import (
    GradingSettings,
    Versions,
    grade_versions,
    why_not_graded,
)
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueTask
from aidsafe_dagster.recipe.errors import RowFailed, SetupError, unknown
from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.languages import LanguageOf
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.policy_counterfactuals import (
    POLICY_SYSTEM,
    CounterfactualSettings,
    FirstAnswer,
    contrast,
    why_not_asked,
)
from aidsafe_dagster.recipe.preference_pairs import (
    PairSettings,
    plain_sampling_calls,
    run_iteration,
)
from aidsafe_dagster.recipe.records import (
    BeliefExample,
    CotGrades,
    DeliberatedCot,
    Failure,
    FailureReason,
    FineTuneRow,
    PolicyCounterfactual,
    PreferencePair,
    Prompt,
    Record,
    RefinedCot,
    Role,
    SeedCot,
    SingleLlmCot,
    Stage,
)
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.round_table import DELIBERATION_STYLES
from aidsafe_dagster.recipe.row_gate import (
    COT_CHECKS,
    PAIR_CHECKS,
    REFINED_COT_CHECKS,
    CheckSettings,
    RowCheck,
    first_failure,
)
from aidsafe_dagster.recipe.seed_cots import seed
from aidsafe_dagster.recipe.single_llm_cots import answer_directly
from aidsafe_dagster.recipe.templates import (
    SAFETY_EVAL,
    SAFETY_EVAL_TEMPLATES,
    Templates,
)
from aidsafe_dagster.recipe.transcript import (
    counterfactual_transcript,
    deliberated_transcript,
    grades_transcript,
    pair_transcript,
    refined_transcript,
    seed_transcript,
    single_llm_transcript,
)

INTEGRITY = "integrity"
TOKEN_LENGTH = "token_length"  # noqa: S105 - the name of a check, not a password
POLICY_COVERAGE = "policy_coverage"
GRADES = "grades"

RecordsByStage = Mapping[str, Any]
"""The records of one prompt so far, by the name of the stage that made them."""


class RecipeSettings(Protocol):
    """The settings that a dialogue may depend on."""

    @property
    def deliberation(self) -> DeliberationSettings: ...
    @property
    def grading(self) -> GradingSettings: ...
    @property
    def pairs(self) -> PairSettings: ...
    @property
    def counterfactuals(self) -> CounterfactualSettings: ...
    @property
    def score_gate(self) -> ScoreGate: ...
    @property
    def checks(self) -> CheckSettings: ...


@dataclass(frozen=True)
class StageDefinition:
    """One stage. Its name is also that of its asset, table, module and folder of templates."""

    name: str
    record: type[Record]
    """A row of its table."""
    upstream: tuple[str, ...] = ()
    """Stages whose gate must be open. A row begins with the record of the last one named."""
    optional_upstream: tuple[str, ...] = ()
    """Stages that are read as well, where they exist."""
    partial_upstream: tuple[str, ...] = ()
    """Stages that only some rows come from. Behind a closed gate, those rows alone stay out."""
    accounts_for: tuple[str, ...] | None = None
    """Stages whose every row must come out as a row or as a failure; None: all of `upstream`."""
    roles: tuple[Role, ...] = ()
    """Who is asked; each role may have a model of its own."""
    speakers: str = ""
    """The same in words, for the dataset card."""
    templates: tuple[str, ...] = ()
    """Templates of its requests, besides those that all requests share: '<folder>/<name>'."""
    dialogue: (
        Callable[[Conversation, RecordsByStage, RecipeSettings], Dialogue[Any]] | None
    ) = None
    """How one row is made; None when no model is asked."""
    extra_calls: (
        Callable[[Conversation, RecordsByStage, RecipeSettings], int] | None
    ) = None
    """Calls that a row takes beyond what its neighbours take, where that is known in advance."""
    why_not_asked: (
        Callable[[Conversation, RecordsByStage, RecipeSettings], RowFailed | None]
        | None
    ) = None
    """Why a row is left out before anybody is asked, None if it is not."""
    switch: Callable[[RecipeSettings], bool] | None = None
    """Whether the settings ask for this stage. None: it is always made. One that has a switch may
    come out empty, and closes no other stage."""
    repeats: tuple[str, ...] = ()
    """Stages whose work it does once more, for estimates until it is measured itself."""
    row_gate: tuple[RowCheck, ...] = ()
    suites: tuple[str, ...] = (INTEGRITY,)
    """Suites of the partition gate, each an asset check."""
    reports_uncited_policies: bool = False
    """Adds a check that warns of policies that no row of the batch cites, or that few meet."""
    is_baseline: bool = False
    """Its checks warn and block nothing, because no row of the dataset rests on it."""
    transcript: Callable[[Any], str] | None = None
    """Renders a row as Markdown."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every stage that is read, required or not."""
        return (*self.upstream, *self.optional_upstream, *self.partial_upstream)

    @property
    def accounted_inputs(self) -> tuple[str, ...]:
        """Stages whose every row must come out as a row or as a failure."""
        return self.upstream if self.accounts_for is None else self.accounts_for

    @property
    def is_optional(self) -> bool:
        return self.switch is not None

    def is_on(self, settings: RecipeSettings) -> bool:
        """Tell whether the settings ask for this stage."""
        return self.switch is None or self.switch(settings)

    def task(
        self,
        conversation: Conversation,
        records: RecordsByStage,
        settings: RecipeSettings,
    ) -> DialogueTask[Any]:
        """Return the dialogue on one prompt, ready to be driven.

        Raises:
            ValueError: no model makes the rows of this stage.
        """
        if self.dialogue is None:
            raise ValueError(f"{self.name} has no dialogues")
        if self.why_not_asked is not None:
            failure = self.why_not_asked(conversation, records, settings)
            if failure is not None:
                return DialogueTask(conversation, _left_out(failure))
        dialogue = self.dialogue(conversation, records, settings)
        extra_calls = 0
        if self.extra_calls is not None:
            extra_calls = self.extra_calls(conversation, records, settings)
        return DialogueTask(conversation, dialogue, extra_calls)

    def check_row(
        self,
        row: Record,
        settings: CheckSettings,
        policies: Policies,
        language_of: LanguageOf | None = None,
    ) -> tuple[FailureReason, str] | None:
        """Return why a finished row must not go on, None if it may."""
        return first_failure(row, self.row_gate, settings, policies, language_of)

    def gate_failure(
        self, row: Record, conversation: Conversation, settings: CheckSettings
    ) -> Failure | None:
        """Return the failure of a finished row that must not go on, None if it may."""
        context = conversation.context
        verdict = self.check_row(row, settings, context.policies, context.language_of)
        if verdict is None:
            return None
        # The answers were valid, and replayed they would fail the gate again. So the next run
        # draws anew.
        reason, detail = verdict
        return conversation.failure(reason, detail, redraw=True)


def _left_out(failure: RowFailed) -> Dialogue[Any]:
    """Return a dialogue that ends before its first call."""
    raise failure
    yield  # the `yield` makes this a generator


def _think_alone(
    conversation: Conversation, records: RecordsByStage, _: RecipeSettings
) -> Dialogue[SingleLlmCot]:
    return answer_directly(conversation, records[Stage.PROMPTS])


def _seed(
    conversation: Conversation, records: RecordsByStage, _: RecipeSettings
) -> Dialogue[SeedCot]:
    return seed(conversation, records[Stage.PROMPTS])


def _deliberate(
    conversation: Conversation, records: RecordsByStage, settings: RecipeSettings
) -> Dialogue[DeliberatedCot]:
    deliberate = DELIBERATION_STYLES[settings.deliberation.style]
    return deliberate(conversation, records[Stage.SEED_COTS], settings.deliberation)


def _refine(
    conversation: Conversation, records: RecordsByStage, _: RecipeSettings
) -> Dialogue[RefinedCot]:
    deliberated = records[Stage.DELIBERATED_COTS]
    return refine(conversation, deliberated)


def _grade(
    conversation: Conversation, records: RecordsByStage, settings: RecipeSettings
) -> Dialogue[CotGrades]:
    versions = Versions(
        refined=records[Stage.REFINED_COTS],
        # A row is graded all the same without its baseline or its deliberated version.
        deliberated=records.get(Stage.DELIBERATED_COTS),
        single_llm=records.get(Stage.SINGLE_LLM_COTS),
    )
    return grade_versions(conversation, versions, settings.grading)


def _why_not_graded(
    _: Conversation, records: RecordsByStage, settings: RecipeSettings
) -> RowFailed | None:
    return why_not_graded(records[Stage.REFINED_COTS], settings.grading)


def belief_search(
    conversation: Conversation, records: RecordsByStage, settings: RecipeSettings
) -> BeliefSearch:
    """Start the search for the belief that misleads the target most on one prompt."""
    grades: CotGrades = records[Stage.COT_GRADES]
    kind = choose_pair_kind(grades, settings.pairs.over_refusal_share)
    return BeliefSearch(conversation, records[Stage.REFINED_COTS], grades, kind)


def belief_iteration(
    search: BeliefSearch,
    iteration: int,
    examples: Sequence[BeliefExample],
    settings: RecipeSettings,
) -> DialogueTask[Any]:
    """Return one iteration of the search on one prompt, and its pair when no further one is due."""
    dialogue = run_iteration(
        search, iteration, examples, settings.pairs, settings.grading
    )
    extra_calls = plain_sampling_calls(search, settings.pairs, settings.grading)
    return DialogueTask(search.conversation, dialogue, extra_calls)


def _search_beliefs(
    conversation: Conversation, records: RecordsByStage, settings: RecipeSettings
) -> Dialogue[Any]:
    # Only the first iteration can be made row by row: later ones show examples from other rows.
    search = belief_search(conversation, records, settings)
    return belief_iteration(search, 1, [], settings).dialogue


def _plain_sampling_calls(
    conversation: Conversation, records: RecordsByStage, settings: RecipeSettings
) -> int:
    search = belief_search(conversation, records, settings)
    return plain_sampling_calls(search, settings.pairs, settings.grading)


def _first_answer(records: RecordsByStage) -> FirstAnswer:
    return FirstAnswer(records[Stage.REFINED_COTS], records[Stage.COT_GRADES])


def _contrast(
    conversation: Conversation, records: RecordsByStage, settings: RecipeSettings
) -> Dialogue[PolicyCounterfactual]:
    return contrast(conversation, _first_answer(records), settings)


def _why_no_contrast(
    conversation: Conversation, records: RecordsByStage, settings: RecipeSettings
) -> RowFailed | None:
    return why_not_asked(conversation.context, _first_answer(records), settings)


def _has_second_policies(settings: RecipeSettings) -> bool:
    return settings.counterfactuals.policies is not None


_COT_SUITES = (INTEGRITY, TOKEN_LENGTH, POLICY_COVERAGE)

STAGES: dict[str, StageDefinition] = {
    definition.name: definition
    for definition in (
        StageDefinition(
            name=Stage.PROMPTS,
            record=Prompt,
            suites=(INTEGRITY, TOKEN_LENGTH),
        ),
        StageDefinition(
            name=Stage.SINGLE_LLM_COTS,
            record=SingleLlmCot,
            upstream=(Stage.PROMPTS,),
            roles=(Role.SINGLE_LLM,),
            speakers="the baseline: one model alone",
            templates=("single_llm_cots/single_llm",),
            dialogue=_think_alone,
            row_gate=COT_CHECKS,
            suites=_COT_SUITES,
            is_baseline=True,
            transcript=single_llm_transcript,
        ),
        StageDefinition(
            name=Stage.SEED_COTS,
            record=SeedCot,
            upstream=(Stage.PROMPTS,),
            roles=(Role.INTENT_DECOMPOSER, Role.INITIALIZER),
            speakers="intent decomposer, initializer",
            templates=("seed_cots/intent_decomposer", "seed_cots/initializer"),
            dialogue=_seed,
            row_gate=COT_CHECKS,
            suites=_COT_SUITES,
            reports_uncited_policies=True,
            transcript=seed_transcript,
        ),
        StageDefinition(
            name=Stage.DELIBERATED_COTS,
            record=DeliberatedCot,
            upstream=(Stage.SEED_COTS,),
            roles=(Role.DELIBERATOR, Role.MODERATOR),
            speakers="deliberators",
            templates=(
                "deliberated_cots/deliberator",
                "deliberated_cots/round_table",
                "deliberated_cots/moderator",
                "deliberated_cots/state",
            ),
            dialogue=_deliberate,
            row_gate=COT_CHECKS,
            suites=_COT_SUITES,
            reports_uncited_policies=True,
            transcript=deliberated_transcript,
        ),
        StageDefinition(
            name=Stage.REFINED_COTS,
            record=RefinedCot,
            upstream=(Stage.DELIBERATED_COTS,),
            roles=(Role.REFINER,),
            speakers="refiner",
            templates=("refined_cots/refiner", "deliberated_cots/state"),
            dialogue=_refine,
            row_gate=REFINED_COT_CHECKS,
            suites=_COT_SUITES,
            reports_uncited_policies=True,
            transcript=refined_transcript,
        ),
        StageDefinition(
            name=Stage.COT_GRADES,
            record=CotGrades,
            upstream=(Stage.REFINED_COTS,),
            # A row is graded all the same where one of these is missing for it.
            optional_upstream=(Stage.DELIBERATED_COTS, Stage.SINGLE_LLM_COTS),
            roles=(Role.JUDGE, Role.SECOND_JUDGE),
            speakers="judges",
            templates=("cot_grades/grade", "cot_grades/compare", "judge_system"),
            dialogue=_grade,
            why_not_asked=_why_not_graded,
            # Judges write no chain of thought, so there is nothing to measure or to cover.
            suites=(INTEGRITY, GRADES),
            transcript=grades_transcript,
        ),
        StageDefinition(
            name=Stage.PREFERENCE_PAIRS,
            record=PreferencePair,
            upstream=(Stage.REFINED_COTS, Stage.COT_GRADES),
            # Both sides of a pair are scored by one rubric, so an ungraded row makes no pair.
            accounts_for=(Stage.COT_GRADES,),
            roles=(
                Role.EAR_WHISPERER,
                Role.TARGET,
                Role.JUDGE,
                Role.SECOND_JUDGE,
                Role.GUARD,
            ),
            speakers="ear-whisperer, target, judges",
            templates=(
                "preference_pairs/ear_whisperer",
                "preference_pairs/target",
                "preference_pairs/guard",
                # The judge of the rejected side and the target's system message count as well:
                # a pair is stale as soon as either of them changes.
                "cot_grades/grade",
                "judge_system",
                "target_system",
            ),
            dialogue=_search_beliefs,
            extra_calls=_plain_sampling_calls,
            row_gate=PAIR_CHECKS,
            suites=(INTEGRITY, TOKEN_LENGTH),
            transcript=pair_transcript,
        ),
        StageDefinition(
            name=Stage.FINE_TUNE_SPLITS,
            record=FineTuneRow,
            upstream=(Stage.REFINED_COTS, Stage.COT_GRADES),
            # An SFT row comes from a refined CoT and a DPO row from a pair. Grades only filter.
            partial_upstream=(Stage.PREFERENCE_PAIRS,),
            # So must the pairs, as many as there were (`SplitInputs`).
            accounts_for=(Stage.REFINED_COTS,),
            suites=(INTEGRITY, TOKEN_LENGTH),
        ),
        StageDefinition(
            name=Stage.POLICY_COUNTERFACTUALS,
            record=PolicyCounterfactual,
            upstream=(Stage.REFINED_COTS, Stage.COT_GRADES),
            # Without a grade under the first set, nobody knows whether that answer is right.
            accounts_for=(Stage.COT_GRADES,),
            roles=(
                Role.INTENT_DECOMPOSER,
                Role.INITIALIZER,
                Role.DELIBERATOR,
                Role.MODERATOR,
                Role.REFINER,
                Role.SINGLE_LLM,
                Role.JUDGE,
                Role.SECOND_JUDGE,
            ),
            speakers="the recipe's agents under a second set of policies, judges",
            templates=(
                f"{Stage.POLICY_COUNTERFACTUALS}/{POLICY_SYSTEM}",
                "seed_cots/intent_decomposer",
                "seed_cots/initializer",
                "deliberated_cots/deliberator",
                "deliberated_cots/round_table",
                "deliberated_cots/moderator",
                "deliberated_cots/state",
                "refined_cots/refiner",
                "single_llm_cots/single_llm",
                "cot_grades/grade",
                "judge_system",
            ),
            dialogue=_contrast,
            why_not_asked=_why_no_contrast,
            switch=_has_second_policies,
            # One grade more than there, and no comparison.
            repeats=(
                Stage.SEED_COTS,
                Stage.DELIBERATED_COTS,
                Stage.REFINED_COTS,
                Stage.COT_GRADES,
            ),
            suites=(INTEGRITY, TOKEN_LENGTH, POLICY_COVERAGE),
            transcript=counterfactual_transcript,
        ),
    )
}
"""By name, in the order of the recipe: each stage comes after those it reads."""


def add_stage(definition: StageDefinition) -> None:
    """Add a stage of your own to the end of the table, before the assets are defined.

    Raises:
        SetupError: the name is taken, or it reads a stage that is not in the table.
    """
    if definition.name in STAGES:
        raise SetupError(
            f"there is a stage '{definition.name}' already; choose another name"
        )
    # Only the side effect counts: a stage that does not exist raises here, with the nearest name.
    for name in definition.inputs:
        stage_named(name)
    STAGES[definition.name] = definition


def stage_named(name: str) -> StageDefinition:
    """Return the definition of a stage.

    Raises:
        SetupError: there is no such stage; names the nearest one.
    """
    if name not in STAGES:
        raise unknown("stage", name, STAGES, "the table of stages")
    return STAGES[name]


def stages_in_use(settings: RecipeSettings) -> tuple[str, ...]:
    """Return the stages that the settings ask for, in the order of the recipe."""
    return tuple(name for name, stage in STAGES.items() if stage.is_on(settings))


def always_made() -> tuple[str, ...]:
    """Return the stages that no setting turns off, in the order of the recipe."""
    return tuple(name for name, stage in STAGES.items() if not stage.is_optional)


def stages_after(name: str) -> Iterator[StageDefinition]:
    """Yield the stages that a model makes from this stage's rows, one row from one row."""
    for definition in STAGES.values():
        # A row begins with the record of the last upstream stage. Where the table names none, the
        # slice is empty, while an index would raise.
        begins_here = definition.upstream[-1:] == (name,)
        if begins_here and definition.dialogue is not None:
            yield definition


def stops_only_its_rows(name: str) -> bool:
    """Tell whether another stage goes on, without these rows, when this one's gate is closed."""
    if stage_named(name).is_optional:
        return True
    return any(name in stage.partial_upstream for stage in STAGES.values())


def all_upstream(name: str) -> tuple[str, ...]:
    """Return all stages whose gates stand before this one, in the order of the recipe."""
    required: set[str] = set()
    waiting = list(stage_named(name).upstream)
    while waiting:
        stage = waiting.pop()
        if stage not in required:
            required.add(stage)
            waiting.extend(stage_named(stage).upstream)
    return tuple(stage for stage in STAGES if stage in required)


def behind(name: str) -> tuple[str, ...]:
    """Return all stages that this one reads, directly or not, in the order of the recipe."""
    read: set[str] = set()
    waiting = list(stage_named(name).inputs)
    while waiting:
        stage = waiting.pop()
        if stage not in read:
            read.add(stage)
            waiting.extend(stage_named(stage).inputs)
    return tuple(stage for stage in STAGES if stage in read)


def with_descendants(names: set[str]) -> tuple[str, ...]:
    """Return these stages and all that read them, directly or not, in the order of the recipe."""
    affected = set(names)
    # One pass is enough, because every stage comes after those it reads.
    for definition in STAGES.values():
        if affected.intersection(definition.inputs):
            affected.add(definition.name)
    return tuple(stage for stage in STAGES if stage in affected)


def check_row(
    row: Record, settings: CheckSettings, policies: Policies
) -> tuple[FailureReason, str] | None:
    """Return why a finished row of the recipe must not go on, None if it may.

    Raises:
        TypeError: it is not a row of any stage.
    """
    for definition in STAGES.values():
        # Record classes inherit from each other, so `isinstance` would match the wrong stage.
        if definition.record is type(row):
            return definition.check_row(row, settings, policies)
    raise TypeError(f"{type(row).__name__} is not a row of any stage")


def load_templates(folder: Path) -> Templates:
    """Load the prompt templates of every stage and of the safety evaluation.

    Raises:
        SetupError: a template is missing or is not valid Jinja.
    """
    names_by_stage = {}
    for name, definition in STAGES.items():
        names_by_stage[name] = definition.templates
    # The safety evaluation is no stage of the recipe, but its judge reads templates as well.
    names_by_stage[SAFETY_EVAL] = SAFETY_EVAL_TEMPLATES
    return Templates(folder, names_by_stage)
