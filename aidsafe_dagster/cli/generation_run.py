"""The work of `aidsafe generation run`: one generation, step by step, each of which can be resumed.

data      → the batches, as `aidsafe backfill` makes them
train     → the adapters, as `aidsafe train` makes them
evaluate  → the base model, the last adapter and the new one
compare   → with the generation before

Nothing records which step is next. Each step finds what is there: the lake and the gates, an
adapter with the same lineage, answers in the journal. So a kill at any instant costs what was in
flight.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from aidsafe_dagster.cli.batches import announce_engine, run_backfill
from aidsafe_dagster.cli.console import print_paragraph, print_problem
from aidsafe_dagster.cli.generation_comparison import show_comparison
from aidsafe_dagster.cli.generation_project import (
    in_generation,
    load_project,
    settings_in,
    take_over,
    write_project,
)
from aidsafe_dagster.cli.generation_training import train_generation
from aidsafe_dagster.cli.local_runs import BatchRun, open_instance, run_job, unfinished
from aidsafe_dagster.cli.preview import agree
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.engines.adapter_loading import load_adapter
from aidsafe_dagster.engines.server_check import Verdict, check_server
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.generations.next_settings import (
    adapter_servers,
    candidate_overrides,
    settings_of_generation,
    with_candidates,
)
from aidsafe_dagster.generations.records import (
    Generation,
    generation_folder,
    lock_path,
    read_generations,
    write_generation,
)
from aidsafe_dagster.generations.taken_over import TakenOver
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.runs.liveness import report_dead_runs
from aidsafe_dagster.settings.load import Loaded
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.training.generation import SpeakingAdapter
from aidsafe_dagster.training.run import require_setup


def run_generation(number: int | None, *, is_agreed: bool) -> bool:
    """Run a generation from where it stands; tell whether it is finished.

    Args:
        number: None for the one that is begun and not finished, else the next.
        is_agreed: do not ask before it begins.

    Raises:
        SetupError: a mistake in the settings, no prompts, no adapter to go on with, or a server
            that does not serve the adapter.
    """
    project = load_project()
    with _alone(project.settings):
        before = read_generations(project.settings)
        generation = _choose(before, number)
        settings = project.settings
        if generation.number > 1:
            speaker = _speaker(project.settings, before, generation)
            generation = generation.model_copy(
                update={"speaker": speaker, "roles": settings.generation.roles}
            )
            settings = settings_of_generation(settings, generation.number, speaker)
            settings = write_project(project, generation.number, settings)
        _print_plan(project.settings, generation)
        write_generation(project.settings, generation)
        with in_generation(project, generation.number), open_instance() as instance:
            run = _Run(project, settings, generation, instance)
            return run.steps(is_agreed=is_agreed)


class _Run:
    """A generation on its way."""

    def __init__(
        self,
        project: Loaded,
        settings: Settings,
        generation: Generation,
        instance: dg.DagsterInstance,
    ) -> None:
        self.project = project
        self.settings = settings
        self.generation = generation
        self.instance = instance

    @property
    def number(self) -> int:
        return self.generation.number

    def steps(self, *, is_agreed: bool) -> bool:
        report_dead_runs(self.instance)
        if self.number > 1:
            before = settings_in(self.project, self.number - 1)
            taken = take_over(
                self.instance, self.project.settings, before, self.settings
            )
            if taken:
                _print_taken_over(taken, self.number - 1, self.settings.currency)
        if not self._make_data(is_agreed=is_agreed):
            return False
        adapters = train_generation(self.instance, self.settings, self.number)
        if adapters is None:
            return False
        self._note(adapters=adapters)
        if not self._evaluate():
            return False
        self._note(is_finished=True)
        if self.number > 1:
            show_comparison(self.project, self.number - 1, self.number)
        _print_end(self.project.settings, self.generation)
        return True

    def _make_data(self, *, is_agreed: bool) -> bool:
        _print_step("Data")
        known = self.instance.get_dynamic_partitions("batches")
        if not known:
            raise SetupError(
                "there are no prompts yet: `aidsafe ingest` takes them in, and then this goes on"
            )
        # Before the data, which may take a night.
        require_setup(self.settings.training)
        speaker = self.generation.speaker
        if speaker:
            self._require_served([speaker])
        announce_engine(self.settings)
        lake = Lake(self.settings.lake)
        todo = unfinished(self.instance, lake, self.settings, known)
        if not todo:
            # Otherwise the backfill asks.
            agree(self.settings, {"the rest": ()}, is_agreed=is_agreed)
        runs = run_backfill(self.instance, self.settings, [], is_agreed=is_agreed)
        return _can_go_on(runs)

    def _evaluate(self) -> bool:
        _print_step("Evaluate")
        adapters = self._adapters_to_evaluate()
        why_not = _why_not_evaluated(self.settings)
        if why_not:
            print_paragraph(f"No model is evaluated: {why_not}.")
            self._note(not_evaluated=why_not)
            return True
        self._require_served(adapters)
        settings = with_candidates(self.settings, self.project.settings, adapters)
        if self.number > 1:
            # For `aidsafe evaluate` there. What else the file says stays as it is.
            write_project(self.project, self.number, settings)
        overrides = candidate_overrides(settings)
        config = {"resources": {"settings": {"config": {"overrides": overrides}}}}
        run = run_job(self.instance, "evaluate_models", config=config)
        if not run.success:
            print_problem("✗ evaluation", run.error)
            return False
        self._note(not_evaluated="")
        names = ", ".join(model.name for model in settings.evaluation.models)
        print_paragraph(f"✓ evaluated: {names}")
        return True

    def _adapters_to_evaluate(self) -> list[SpeakingAdapter]:
        """Return the adapter that spoke, and those that were trained here."""
        spoken = [self.generation.speaker] if self.generation.speaker else []
        return [*spoken, *self.generation.adapters]

    def _require_served(self, adapters: Sequence[SpeakingAdapter]) -> None:
        """Check that servers that somebody else runs serve the adapters.

        Raises:
            SetupError: one does not; says what to start.
        """
        project = self.project.settings
        for adapter in adapters:
            servers = adapter_servers(self.settings, project, [adapter])
            for name, server in servers:
                if project.generation.load:
                    _load(name, server, adapter)
                _require_served(name, server, adapter)

    def _note(self, **changes: object) -> None:
        self.generation = self.generation.model_copy(update=changes)
        write_generation(self.project.settings, self.generation)


def _load(name: str, server: ServerSettings, adapter: SpeakingAdapter) -> None:
    """Have a server load an adapter that it does not serve yet."""
    check = asyncio.run(check_server(server))
    if check.verdict is not Verdict.NO_SUCH_MODEL:
        return
    problem = asyncio.run(load_adapter(server, adapter.folder))
    if problem:
        raise SetupError(f"{name}: the server does not load {adapter.name}: {problem}")
    print_paragraph(f"{server.base_url} has loaded {adapter.name}.")


def _require_served(
    name: str, server: ServerSettings, adapter: SpeakingAdapter
) -> None:
    check = asyncio.run(check_server(server))
    if check.verdict is Verdict.NO_SUCH_MODEL:
        raise SetupError(_how_to_serve(name, adapter, check.detail))
    if check.verdict is Verdict.UNUSABLE:
        raise SetupError(f"{name}: {check.detail}")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    lock = LockFile(lock_path(settings))
    if not lock.try_hold(f"process {os.getpid()} (aidsafe generation run)"):
        raise SetupError("another process runs a generation of this project now")
    try:
        yield
    finally:
        lock.release()


def _choose(generations: Sequence[Generation], number: int | None) -> Generation:
    """Return the generation to run, as far as it has come.

    Raises:
        SetupError: those before it are not finished.
    """
    by_number = {generation.number: generation for generation in generations}
    last = max(by_number, default=0)
    finished = [one.number for one in generations if one.is_finished]
    following = max(finished, default=0) + 1
    if number is None:
        number = following
    if number > following:
        raise SetupError(
            f"generation {number} follows generation {number - 1}, which is not finished yet: "
            f"`aidsafe generation run {min(last + 1, following)}` comes first"
        )
    return by_number.get(number, Generation(number=number))


def _speaker(
    settings: Settings, generations: Sequence[Generation], generation: Generation
) -> SpeakingAdapter:
    """Return the adapter that speaks in a generation.

    Raises:
        SetupError: the generation before trained no such adapter.
    """
    method = settings.generation.adapter
    adapter = generation.speaker
    # One that is begun goes on with its adapter, whatever was trained in the one before since.
    if adapter is None or adapter.method != method:
        adapter = None
        for before in generations:
            if before.number == generation.number - 1:
                adapter = before.adapter(method)
    if adapter:
        # Under the name that it is served by now, which may have changed since.
        name = settings.generation.name_of(adapter.generation, method)
        return adapter.model_copy(update={"name": name})
    raise SetupError(
        f"generation {generation.number - 1} has no {method} adapter to go on with: set "
        "generation.adapter to the other method, or train it there"
    )


def _can_go_on(runs: Sequence[BatchRun]) -> bool:
    """Tell whether to go on to the training, although some batch may stand behind a gate."""
    if any(run.is_hopeless or run.was_ended_elsewhere for run in runs):
        print_paragraph("The same command goes on from here.")
        return False
    failed = sorted({run.batch for run in runs if not run.success})
    if failed:
        print_paragraph(
            f"Not trained on, for a closed gate: {', '.join(failed)}. `aidsafe failures` says why."
        )
    return True


def _why_not_evaluated(settings: Settings) -> str:
    if settings.engine == "rehearsal":
        return (
            "the rehearsal engine would judge the answers by rule, and invented shares would look "
            "like results"
        )
    if not settings.evaluation.benchmarks and not settings.evaluation.held_out:
        return "evaluation.benchmarks is empty and evaluation.held_out is 0"
    return ""


def _how_to_serve(name: str, adapter: SpeakingAdapter, detail: str) -> str:
    return (
        f"{name}: {detail}.\n"
        f"Serve the adapter there under the name {adapter.name}, and start the same command again. "
        "With vLLM:\n"
        f"  vllm serve MODEL --enable-lora --lora-modules {adapter.name}={adapter.folder}\n"
        "generation.served_as is the setting for another name"
    )


def _print_plan(settings: Settings, generation: Generation) -> None:
    where = "this project"
    if generation.number > 1:
        where = shown(generation_folder(settings, generation.number))
    print_paragraph(f"Generation {generation.number}, in {where}.")
    speaker = generation.speaker
    if speaker:
        roles = ", ".join(generation.roles)
        print_paragraph(
            f"{roles}: the {speaker.method} adapter of generation {speaker.generation}, as "
            f"{speaker.label}",
            indent=2,
        )
    elif settings.engine != "rehearsal":
        print_paragraph("The target is as the settings have it.", indent=2)
    steps = "data, train, evaluate"
    if generation.number > 1:
        steps += f", compare with generation {generation.number - 1}"
    print_paragraph(f"Steps: {steps}. What is there is not made again.", indent=2)


def _print_taken_over(taken: TakenOver, before: int, currency: str) -> None:
    if taken.replayed:
        stages = ", ".join(taken.replayed)
        print_paragraph(
            f"As in generation {before}, and answered from the journal: {stages}.",
            indent=2,
        )
    if taken.asked:
        stages = ", ".join(taken.asked)
        took = ""
        if taken.usage.calls:
            took = f", which took {describe_spending(Spending(taken.usage), currency)} there"
        print_paragraph(f"Asked anew: {stages}{took}.", indent=2)


def _print_step(name: str) -> None:
    print_paragraph(f"── {name}")


def _print_end(settings: Settings, generation: Generation) -> None:
    print_paragraph(
        f"Generation {generation.number} is finished. `aidsafe generation run` begins the next "
        "one, and `aidsafe generation list` shows all."
    )
    if generation.number > 1:
        folder = shown(generation_folder(settings, generation.number))
        print_paragraph(
            f"Every command works in it: `aidsafe --project {folder} status`"
        )
