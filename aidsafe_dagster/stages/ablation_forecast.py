"""What an experiment will ask at most, told before it asks anything.

The real dialogues of the sample are driven with what the journal has recorded. From the first call
on that is not recorded, made-up answers take its place, whose agents never agree. A call that two
variants share is counted once, as it will be made once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.journal import Journal, is_journal_there
from aidsafe_dagster.engines.protocol import Engine, Route
from aidsafe_dagster.recipe.ablations import run_variant
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.context_plan import (
    LIKELY,
    TOKENS_PER_MESSAGE,
    fill,
    plan_requests,
)
from aidsafe_dagster.recipe.dialogue import (
    Completion,
    Conversation,
    Dialogue,
    DialogueContext,
    DialogueTask,
    Request,
)
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import FailureReason, Prompt, Stage, Usage
from aidsafe_dagster.recipe.stages import RecordsByStage
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.stages.ablation_plans import PlannedVariant, Roles
from aidsafe_dagster.stages.belief_search import search_all
from aidsafe_dagster.stages.roles import snapshot_with_roles
from aidsafe_dagster.stages.target_searches import make_searches

MOST_PROBED = 40
"""Prompts that are looked up. Of a larger sample, they stand for the rest."""


@dataclass(frozen=True)
class Forecast:
    """What one variant will take, at most."""

    name: str
    usage: Usage
    """Of the calls that are not recorded yet; those that an earlier variant makes are its own."""
    recorded: int
    """Calls that the journal answers."""


def forecast_variants(
    snapshot: SettingsSnapshot,
    plan: Sequence[PlannedVariant],
    sample: Sequence[Prompt],
) -> list[Forecast]:
    """Return what each variant will ask at most.

    Raises:
        SetupError: a role does not exist, or its model cannot be asked.
    """
    probed = sample[:MOST_PROBED]
    scale = len(sample) / len(probed)
    journal = _open_journal(snapshot)
    seen: set[str] = set()
    forecasts = []
    try:
        for planned in plan:
            own = snapshot_with_roles(snapshot, planned.roles)
            probe = _Probe(own, planned, journal, seen)
            for prompt in probed:
                probe.look(prompt)
            usage = scaled(probe.usage, scale)
            recorded = round(probe.recorded * scale)
            forecasts.append(Forecast(planned.variant.name, usage, recorded))
    finally:
        if journal:
            journal.close()
    return forecasts


def forecast_searches(
    snapshot: SettingsSnapshot,
    targets: dict[str, Roles],
    sample: Sequence[Prompt],
    sides: Mapping[str, RecordsByStage],
) -> list[Forecast]:
    """Return what the search for beliefs will ask at most of each target.

    A search that is recorded to its end asks nothing. Of any other, all iterations are expected,
    but for the calls up to the first that is not recorded.

    Args:
        snapshot: settings, policies and templates.
        targets: the roles by which each is asked.
        sample: prompts of the experiment.
        sides: what the searches start from, by prompt id; prompts without any are not searched.

    Raises:
        SetupError: a role does not exist, or its model cannot be asked.
    """
    journal = _open_journal(snapshot)
    forecasts = []
    try:
        for name, roles in targets.items():
            own = snapshot_with_roles(snapshot, roles)
            engine = make_engine(own.settings)
            context = make_dialogue_context(own, engine)
            searches = make_searches(sample, sides, context, own.settings)
            replay = _Replay(engine, journal)
            search_all(searches, own.settings, replay.drive, earlier_examples={})
            most = _most_of_search(context, own.settings, engine)
            open_share = 0.0
            for prompt_id in replay.unfinished:
                calls = replay.recorded[prompt_id]
                open_share += max(0.0, 1 - calls / max(1, most.calls))
            recorded = replay.recorded.total()
            forecasts.append(Forecast(name, scaled(most, open_share), recorded))
    finally:
        if journal:
            journal.close()
    return forecasts


def _most_of_search(
    context: DialogueContext, settings: Settings, engine: Engine
) -> Usage:
    """Return what one prompt takes if every iteration is due."""
    usage = Usage()
    # One iteration of the search, since later ones need the examples of other prompts.
    stages = [Stage.PREFERENCE_PAIRS]
    for request in plan_requests(context, settings, LIKELY, stages):
        tokens = Usage(
            calls=1,
            prompt_tokens=request.prompt_tokens,
            completion_tokens=request.answer_tokens,
        )
        usage += _priced(tokens, engine.route(request.speaker))
    return scaled(usage, settings.pairs.iterations)


class _Replay:
    """Runs dialogues on what is recorded, each up to the first call that is not.

    Args:
        engine: by which they would ask.
        journal: None: nothing is recorded.
    """

    def __init__(self, engine: Engine, journal: Journal | None) -> None:
        self.recorded = Counter[str]()
        """Calls that the journal answers, by prompt id."""
        self.unfinished: dict[str, None] = {}
        """Prompts of which a call is not recorded."""
        self._engine = engine
        self._journal = journal

    def drive(
        self, tasks: Sequence[DialogueTask[Any]], _: str
    ) -> tuple[list[Any], Progress]:
        """Run the tasks of one iteration; as `search_all` wants it."""
        return [self._run(task) for task in tasks], Progress(rows=len(tasks))

    def _run(self, task: DialogueTask[Any]) -> Any:
        conversation, dialogue = task.conversation, task.dialogue
        prompt_id = conversation.prompt.prompt_id
        try:
            request = next(dialogue)
            while True:
                completion = _find(request, self._engine, self._journal)
                if completion is None:
                    self.unfinished[prompt_id] = None
                    reason = FailureReason.ENGINE_ERROR
                    return conversation.failure(reason, "not recorded", redraw=False)
                self.recorded[prompt_id] += 1
                request = dialogue.send(completion)
        except StopIteration as end:
            return end.value
        except RowFailed as error:
            return conversation.failure(error.reason, error.detail, redraw=True)
        finally:
            dialogue.close()


def scaled(usage: Usage, factor: float) -> Usage:
    """Return so many times a usage, in whole calls and tokens."""
    return Usage(
        calls=round(usage.calls * factor),
        prompt_tokens=round(usage.prompt_tokens * factor),
        completion_tokens=round(usage.completion_tokens * factor),
        cost=usage.cost * factor,
    )


class _Probe:
    """Takes prompts through one variant without asking anybody.

    Args:
        snapshot: with the roles of the variant.
        planned: the variant.
        journal: holds what is recorded; None: nothing is.
        seen: keys of calls that this experiment will make; it is added to.
    """

    def __init__(
        self,
        snapshot: SettingsSnapshot,
        planned: PlannedVariant,
        journal: Journal | None,
        seen: set[str],
    ) -> None:
        self.usage = Usage()
        self.recorded = 0
        self._settings = snapshot.settings
        self._variant = planned.variant
        self._journal = journal
        self._seen = seen
        self._engine: Engine = make_engine(snapshot.settings)
        context = make_dialogue_context(snapshot, self._engine)
        self._context = context
        # Made-up answers would not pass the checks of good text.
        self._lenient = replace(
            context, count_tokens=cache(context.count_tokens), bad_text=ACCEPT_ALL
        )

    def look(self, prompt: Prompt) -> None:
        """Count the calls for one prompt."""
        if not self._is_recorded_whole(prompt):
            self._count(prompt)

    def _is_recorded_whole(self, prompt: Prompt) -> bool:
        """Replay a prompt; return False at the first call that is not recorded."""
        calls = 0
        dialogue = self._dialogue(self._context, prompt, is_checked=True)
        try:
            request = next(dialogue)
            while True:
                completion = self._find(request)
                if completion is None:
                    return False
                calls += 1
                request = dialogue.send(completion)
        except (StopIteration, RowFailed):
            # A row that fails on recorded answers asks nothing more.
            self.recorded += calls
            return True
        finally:
            dialogue.close()

    def _count(self, prompt: Prompt) -> None:
        dialogue = self._dialogue(self._lenient, prompt, is_checked=False)
        try:
            request = next(dialogue)
            while True:
                completion = self._find(request)
                if completion:
                    self.recorded += 1
                else:
                    completion = self._made_up(request)
                request = dialogue.send(completion)
        except (StopIteration, RowFailed):
            return

    def _dialogue(
        self, context: DialogueContext, prompt: Prompt, *, is_checked: bool
    ) -> Dialogue[object]:
        conversation = Conversation(context, Stage.SEED_COTS, prompt)
        checks = self._settings.checks if is_checked else None
        return run_variant(conversation, self._variant, self._settings.grading, checks)

    def _find(self, request: Request) -> Completion | None:
        return _find(request, self._engine, self._journal)

    def _made_up(self, request: Request) -> Completion:
        """Return an answer of usual length, and count the call unless it is counted already."""
        answer = fill(request, LIKELY)
        key = _key(request, self._engine)
        if key not in self._seen:
            self._seen.add(key)
            count_tokens = self._lenient.count_tokens
            prompt_tokens = 0
            for message in request.messages:
                prompt_tokens += count_tokens(message.content) + TOKENS_PER_MESSAGE
            usage = Usage(
                calls=1,
                prompt_tokens=prompt_tokens,
                completion_tokens=count_tokens(answer),
            )
            self.usage += _priced(usage, self._engine.route(request.speaker))
        return Completion(text=answer, model="", usage=Usage())


def _find(
    request: Request, engine: Engine, journal: Journal | None
) -> Completion | None:
    return journal.find(_key(request, engine)) if journal else None


def _key(request: Request, engine: Engine) -> str:
    route = engine.route(request.speaker)
    return request.key(route.model, route.options)


def _priced(usage: Usage, route: Route) -> Usage:
    return usage.model_copy(update={"cost": route.cost(usage)})


def _open_journal(snapshot: SettingsSnapshot) -> Journal | None:
    # Opening it would create it, and a preview leaves nothing behind.
    url = snapshot.settings.journal
    return Journal(url) if is_journal_there(url) else None
