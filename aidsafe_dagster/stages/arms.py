"""Train the arms of a comparison, serve them, ask them the benchmarks, and keep what came of it.

What is finished is not done again: an adapter is reused, a training that was cut off goes on from
its last checkpoint, and every answer and verdict is in the journal.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.engines.roles import RoleSettings
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.evaluation.arm_report import write_arm_pages
from aidsafe_dagster.evaluation.arms import (
    OVER_REFUSAL,
    TRAINING,
    ArmArchive,
    ArmComparison,
    ArmResult,
    ComparedArms,
)
from aidsafe_dagster.evaluation.benchmarks import BenchmarkSpec
from aidsafe_dagster.evaluation.held_out import held_out_benchmark, read_held_out
from aidsafe_dagster.evaluation.items import Benchmark, load_benchmark
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import EngineUnusable, SetupError
from aidsafe_dagster.recipe.records import Role, Usage
from aidsafe_dagster.recipe.safety_eval import EvaluatedAnswer
from aidsafe_dagster.recipe.templates import SAFETY_EVAL
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.selection.select import RANDOM, SELECTED
from aidsafe_dagster.selection.store import read_selection
from aidsafe_dagster.settings.role_servers import server_of
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.stages.batch_selection import (
    TrainingSelection,
    select_for_training,
)
from aidsafe_dagster.stages.benchmark_answers import all_unanswered, ask_benchmarks
from aidsafe_dagster.training.adapter import Adapter
from aidsafe_dagster.training.arm_rows import (
    over_refusal_arms,
    selection_arms,
    table_2_arms,
)
from aidsafe_dagster.training.arms import (
    BASE,
    SFT,
    Arm,
    same_as_trained,
    train_arm,
    why_failed,
)
from aidsafe_dagster.training.data import (
    Subset,
    TrainingSet,
    fingerprints_of,
    read_training_rows,
    write_training_set,
)
from aidsafe_dagster.training.lineage import base_revision
from aidsafe_dagster.training.run import require_setup
from aidsafe_dagster.training.serving import served_adapters

logger = logging.getLogger(__name__)
_SERVER = "arms"
_SAFETY = frozenset({"safety", "jailbreaks", "over_refusal"})
_ANSWER_TIMEOUT_S = 3600.0
"""A CPU may take its time over an answer, and all the answers that wait before it."""


DEFAULT_SHARES = (0.0, 0.25, 0.5)
"""Of needless-refusal pairs."""


class ArmConfig(dg.Config):
    sample: int | None = Field(
        default=None,
        ge=0,
        description="prompts of each benchmark, 0: all; default: evaluation.sample of the settings",
    )


@dataclass(frozen=True)
class Plan:
    """What is compared."""

    kind: str
    arms: Sequence[Arm]
    reference: str
    measures: frozenset[str]
    """What the benchmarks that are asked measure."""


@dataclass(frozen=True)
class Inputs:
    """The rows of the training, and what came before them."""

    lake: Lake
    selection: TrainingSelection
    data: TrainingSet
    rows: Any
    batches: Mapping[str, str]

    @property
    def why_no_pairs(self) -> str:
        reasons = [
            f"{batch}: {why}" for batch, why in self.selection.without_dpo.items()
        ]
        return "; ".join(reasons)


@dataclass(frozen=True)
class _TrainedArm:
    arm: Arm
    adapter: Adapter | None = None
    missing: str = ""


def read_inputs(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> Inputs:
    """Return the rows of all batches that training takes.

    Raises:
        SetupError: there is nothing to train on, or a training cannot be started.
    """
    require_setup(settings.training)
    selection = select_for_training(
        instance, lake, allow_simulated=settings.training.allow_simulated
    )
    ratio, without = settings.splits.general_ratio, selection.without_dpo
    rows = read_training_rows(lake, selection.batches, ratio, without_dpo=without)
    data = write_training_set(
        lake, selection.batches, settings.home, ratio, without_dpo=without
    )
    return Inputs(lake, selection, data, rows, fingerprints_of(lake, selection.batches))


def plan_table_2(inputs: Inputs) -> Plan:
    """Return the arms of the paper's Table 2, those of a selection, and what they are asked."""
    arms = table_2_arms(
        inputs.lake, inputs.rows, inputs.batches, why_no_pairs=inputs.why_no_pairs
    )
    arms += _arms_of_selection(inputs)
    return Plan(TRAINING, arms, BASE, _SAFETY | {"accuracy"})


def _arms_of_selection(inputs: Inputs) -> list[Arm]:
    """Return SFT on the selected rows and on the random draw; none where nothing was selected."""
    selection = read_selection(inputs.lake)
    if selection is None:
        return []
    why_none = selection.why_not_of(inputs.selection.batches)
    subsets = [
        Subset(SELECTED, selection.chosen.keys()),
        Subset(RANDOM, selection.drawn),
    ]
    return selection_arms(inputs.rows, inputs.batches, subsets, why_none=why_none)


def plan_over_refusal(inputs: Inputs, shares: Sequence[float]) -> Plan:
    """Return DPO at these shares of needless-refusal pairs and what it is asked.

    Raises:
        SetupError: there is no share, or one is none.
    """
    if not shares or min(shares) < 0 or max(shares) > 1:
        raise SetupError("over-refusal: shares are numbers from 0 to 1, at least one")
    arms = over_refusal_arms(
        inputs.lake,
        inputs.rows,
        inputs.batches,
        sorted(set(shares)),
        why_no_pairs=inputs.why_no_pairs,
    )
    return Plan(OVER_REFUSAL, arms, SFT, _SAFETY)


def compare_arms(
    context: dg.AssetExecutionContext,
    plan: Plan,
    inputs: Inputs,
    engine: EngineResource,
    settings: SettingsResource,
    sample: int | None,
) -> ComparedArms:
    """Train, serve and ask every arm, store the comparison, and return it.

    Raises:
        SetupError: no arm could be trained, no benchmark be read, or no arm answered anything.
    """
    snapshot = engine.snapshot
    loaded = snapshot.settings

    def log(line: str) -> None:
        context.log.info(line)
        # The terminal shows this logger, and no event log.
        logger.info("%s", line)

    benchmarks, left_out = _load_benchmarks(plan, inputs, snapshot, sample)
    trained = _train_all(plan.arms, inputs, loaded, log)
    results: list[ArmResult] = []
    answers: list[EvaluatedAnswer] = []
    troubles: list[EngineUnusable | None] = []
    with _asked_by(engine, settings, trained, log) as engine_of:
        for one in trained:
            if one.missing:
                results.append(_result(one, Usage()))
                continue
            arm_engine = engine_of(one)
            log(f"{one.arm.title}: asked")
            said, trouble = _ask(context, arm_engine, one.arm.name, benchmarks)
            answers += said
            result = _result(one, sum((row.usage for row in said), Usage()))
            results.append(result.model_copy(update={"trouble": str(trouble or "")}))
            troubles.append(trouble)
    # Nothing was measured, so there is nothing to keep.
    errors = [trouble for trouble in troubles if trouble is not None]
    if errors and len(errors) == len(troubles):
        raise errors[0]
    comparison = ArmComparison(
        kind=plan.kind,
        model=loaded.training.model,
        judge=_join_judges(answers),
        judge_simulated=loaded.engine == "rehearsal"
        and server_of(loaded, Role.JUDGE) is None,
        arms=tuple(results),
        reference=plan.reference,
        benchmarks={row.name: len(row.items) for row in benchmarks},
        left_out=left_out,
        parts=_parts(snapshot, benchmarks),
        currency=loaded.currency,
    )
    compared = ComparedArms(comparison, answers)
    ArmArchive(loaded.home).store(compared)
    write_arm_pages(loaded.reports, compared)
    return compared


def _ask(
    context: dg.AssetExecutionContext,
    engine: EngineResource,
    name: str,
    benchmarks: Sequence[Benchmark],
) -> tuple[list[EvaluatedAnswer], EngineUnusable | None]:
    """Ask an arm. If its server answers nothing, that is its result, and others go on."""
    try:
        answers, _ = ask_benchmarks(context, engine, name, benchmarks)
    except EngineUnusable as error:
        context.log.warning(f"{name}: asked in vain: {error}")
        return all_unanswered(engine, name, benchmarks, str(error)), error
    return answers, None


def benchmarks_of(plan: Plan, settings: Settings) -> list[BenchmarkSpec]:
    """Return the configured benchmarks that measure what is compared."""
    return [
        spec
        for spec in settings.evaluation.benchmarks
        if spec.benchmark.measures in plan.measures
    ]


def _load_benchmarks(
    plan: Plan, inputs: Inputs, snapshot: SettingsSnapshot, sample: int | None
) -> tuple[list[Benchmark], dict[str, str]]:
    """Return the benchmarks to ask, and why others cannot be asked.

    Raises:
        SetupError: none is left.
    """
    settings = snapshot.settings
    size = settings.evaluation.sample if sample is None else sample
    benchmarks, left_out = [], {}
    for spec in benchmarks_of(plan, settings):
        try:
            benchmarks.append(
                load_benchmark(spec, size, snapshot.templates, HubAccess())
            )
        except SetupError as error:
            # One that cannot be reached must not take the others along, and is named.
            left_out[spec.name] = why_failed(error)
    # Of our own prompts, none of which any arm was trained on: they need no download.
    rows = read_held_out(
        inputs.lake,
        inputs.selection.batches,
        size or len(inputs.rows),
        without_dpo=inputs.selection.without_dpo,
    )
    held_out = held_out_benchmark(rows)
    if held_out:
        benchmarks.append(held_out)
    if not benchmarks:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise SetupError(
            "there is nothing to ask: no benchmark can be read, and the test split has no SFT row "
            f"(splits.test). {reasons}"
        )
    return benchmarks, left_out


def _train_all(
    arms: Sequence[Arm], inputs: Inputs, settings: Settings, log: Callable[[str], None]
) -> list[_TrainedArm]:
    """Train the arms in order.

    Raises:
        SetupError: none could be trained, though one has rows.
    """
    trained: dict[str, _TrainedArm] = {}
    first_error: SetupError | None = None
    for arm in arms:
        if arm.method is None:
            trained[arm.name] = _TrainedArm(arm)
            continue
        reason = arm.missing
        start = trained.get(arm.after)
        if not reason and start and start.missing:
            reason = f"it starts from {start.arm.title}, which is missing"
        if reason:
            trained[arm.name] = _TrainedArm(arm, missing=reason)
            continue
        # Without `from_sft`, DPO starts from the base model.
        from_sft = settings.training.dpo.from_sft
        adapter_before = start.adapter if start and from_sft else None
        log(f"{arm.title}: {arm.train_rows} rows to train on")
        try:
            adapter = _train(arm, adapter_before, inputs, settings, log)
        except SetupError as error:
            first_error = first_error or error
            trained[arm.name] = _TrainedArm(arm, missing=why_failed(error))
        else:
            trained[arm.name] = _TrainedArm(arm, adapter)
    if first_error and not any(one.adapter for one in trained.values()):
        raise first_error
    return list(trained.values())


def _train(
    arm: Arm,
    start: Adapter | None,
    inputs: Inputs,
    settings: Settings,
    log: Callable[[str], None],
) -> Adapter:
    training = settings.training
    # Ours are those of `aidsafe train`, where it has made them with these settings.
    if arm.name in (SFT, "dpo") and arm.method:
        existing = same_as_trained(
            arm.method, inputs.data, start, training, settings.home
        )
        if existing:
            log(f"{arm.title}: {existing.folder} is taken as it is")
            return existing

    def named(line: str) -> None:
        log(f"{arm.title}: {line}")

    generation = settings.generation.number
    return train_arm(arm, start, training, settings.home, named, generation)


@contextmanager
def _asked_by(
    engine: EngineResource,
    settings: SettingsResource,
    trained: Sequence[_TrainedArm],
    log: Callable[[str], None],
) -> Iterator[Callable[[_TrainedArm], EngineResource]]:
    """Serve the arms; yield a function that returns the engine by which an arm is asked.

    The engine's own vLLM serves adapters of the model that it serves anyway. Other models are
    served in the training environment.
    """
    snapshot = engine.snapshot
    loaded = snapshot.settings
    folders = {}
    for one in trained:
        if one.adapter:
            folders[one.arm.name] = one.adapter.folder
    revisions = {one.arm.name: _revision(one, loaded) for one in trained}

    def engine_with(**changes: Any) -> EngineResource:
        pinned = settings.pinned(snapshot.with_settings(**changes))
        return EngineResource(settings=pinned, vllm=engine.vllm)

    if loaded.engine == "vllm" and loaded.vllm.model == loaded.training.model:
        adapters = {name: str(folder) for name, folder in folders.items()}
        all_adapters = {**loaded.vllm.lora_adapters, **adapters}
        vllm = loaded.vllm.model_copy(update={"lora_adapters": all_adapters})

        def managed(one: _TrainedArm) -> EngineResource:
            model = one.arm.name if one.adapter else ""
            role = RoleSettings(model=model, revision=revisions[one.arm.name])
            roles = {**loaded.roles, str(Role.CANDIDATE): role}
            return engine_with(vllm=vllm, roles=roles)

        yield managed
        return
    place = loaded.home / "arms" / "server"
    with served_adapters(loaded.training, folders, place, log) as base_url:
        server = ServerSettings(
            base_url=base_url,
            slots=2 * loaded.training.answers_at_once,
            timeout_s=_ANSWER_TIMEOUT_S,
            end_loops="off",
            output="text",
        )

        def local(one: _TrainedArm) -> EngineResource:
            name = one.arm.name
            role = RoleSettings(server=_SERVER, model=name, revision=revisions[name])
            servers = {**loaded.servers, _SERVER: server}
            roles = {**loaded.roles, str(Role.CANDIDATE): role}
            return engine_with(servers=servers, roles=roles)

        yield local


def _revision(one: _TrainedArm, settings: Settings) -> str:
    """Return what tells these weights apart from all others, for the journal."""
    base = base_revision(settings.training)
    model = f"{settings.training.model} {base}".strip()
    return f"{one.adapter.lineage.weights} {model}" if one.adapter else model


def _result(one: _TrainedArm, usage: Usage) -> ArmResult:
    arm = ArmResult(
        name=one.arm.name,
        title=one.arm.title,
        missing=one.missing,
        rows=one.arm.train_rows,
        calls=usage.calls,
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
        cost=usage.cost,
    )
    if one.adapter is None:
        return arm
    lineage = one.adapter.lineage
    trained = {
        "adapter": str(one.adapter.folder),
        "weights": lineage.weights,
        "rows_too_long": int(lineage.result.get("rows_too_long", 0)),
        "training_s": lineage.seconds,
        "simulated": lineage.simulated,
    }
    return arm.model_copy(update=trained)


def _parts(
    snapshot: SettingsSnapshot, benchmarks: Sequence[Benchmark]
) -> dict[str, str]:
    """Return what bears on the figures besides arms and model."""
    settings = snapshot.settings
    prompts = [item.prompt.prompt_id for row in benchmarks for item in row.items]
    judge = server_of(settings, Role.JUDGE)
    return {
        "base": base_revision(settings.training),
        "judge": judge.model_name if judge else "rehearsal",
        "policies": snapshot.policies.version,
        "templates": snapshot.templates.version(SAFETY_EVAL),
        "sampling": settings.sampling.model_dump_json(),
        "temperature": str(settings.evaluation.temperature),
        "prompts": " ".join(sorted(prompts)),
    }


def _join_judges(answers: Sequence[EvaluatedAnswer]) -> str:
    return ", ".join(sorted({answer.judge for answer in answers} - {""}))


def answers_path(home: Path, comparison: ArmComparison) -> Path:
    """Return where every answer of a comparison lies."""
    return ArmArchive(home).answers_path(comparison)
