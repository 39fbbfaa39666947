"""The recipe of a stage: every setting, policy and template on which the text of its rows depends.

Where a server is, which key it takes, how many calls it takes at a time and what it costs are no
part of it: the same model at another address writes the same text. So no batch is made again for
them. A setting that is not named here as one of those counts.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from aidsafe_dagster.engines.roles import for_speaker, role_of
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.bad_text import BadTextSettings
from aidsafe_dagster.recipe.batch_recipe import (
    POLICIES,
    SECOND_POLICIES,
    TEMPLATE,
    RecipePart,
    content_hash,
    policy_hash,
)
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.policy_counterfactuals import CounterfactualSettings
from aidsafe_dagster.recipe.records import Record, RefinedCot, Role, Stage
from aidsafe_dagster.recipe.stages import stage_named
from aidsafe_dagster.settings.role_servers import (
    adapters_by_speaker,
    common_sampling,
    is_managed,
    sampling_by_speaker,
    server_of,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot

RECIPE_STAGES = (Stage.FINE_TUNE_SPLITS,)
"""Stages that ask no model, and yet have a recipe."""
_NOT_ON_TEXT = {
    "base_url",
    "api_key_env",
    "timeout_s",
    "slots",
    "requests_per_minute",
    "tokens_per_minute",
    "prices",
    "context_length",
    "tokenize",
    "priority",
    "end_loops",
    "max_reply_mib",
    "rename",
    "reasoning_budget_field",
}
"""Fields of a server on which no text depends."""
_TOLD_OTHERWISE = {"model", "revision", "sampling", "reasoning_on", "reasoning_off"}
_OF_PARTITIONS = {
    "max_prompt_tokens",
    "max_median_refined_ratio",
    "max_failure_share",
    "max_left_out_share",
    "min_rows",
    "min_policy_share",
}
"""Checks that judge a partition, and change no row."""
_OF_REFINEMENT = {"max_refined_ratio", "min_refined_share"}
_REHEARSAL = "rehearsal"


def recipe_parts(snapshot: SettingsSnapshot, stage: str) -> tuple[RecipePart, ...]:
    """Return what the rows of a stage depend on; nothing for a stage that has no recipe.

    Raises:
        SetupError: the policies or templates could not be read.
    """
    settings = snapshot.settings
    if stage == Stage.FINE_TUNE_SPLITS:
        # The general mix is chosen when rows are published or trained on.
        splits = _group("splits", settings.splits, {"general_ratio"})
        return (*splits, *_group("score_gate", settings.score_gate))
    if stage_named(stage).dialogue is None:
        return ()
    return (
        *_file_parts(snapshot, stage),
        *_speaker_parts(settings, stage),
        *_generation_parts(settings, stage),
        *_setting_parts(settings, stage),
    )


def has_recipe(stage: str) -> bool:
    """Tell whether a record is kept of what the stage was made under."""
    return stage in RECIPE_STAGES or stage_named(stage).dialogue is not None


def roles_in_use(settings: Settings, stage: str) -> list[Role]:
    """Return the roles that the settings let speak at a stage."""
    silent = set()
    if settings.deliberation.style != "round_table":
        silent.add(Role.MODERATOR)
    if settings.pairs.scorer != "guard":
        silent.add(Role.GUARD)
    if settings.grading.judges == 1:
        silent.add(Role.SECOND_JUDGE)
    if stage == Stage.POLICY_COUNTERFACTUALS:
        silent |= _silent_writers(settings.counterfactuals)
    return [role for role in stage_named(stage).roles if role not in silent]


def _silent_writers(settings: CounterfactualSettings) -> set[Role]:
    """Return who does not speak under the second policies."""
    if settings.writer == "deliberation":
        return {Role.SINGLE_LLM}
    return {
        Role.INTENT_DECOMPOSER,
        Role.INITIALIZER,
        Role.DELIBERATOR,
        Role.MODERATOR,
        Role.REFINER,
    }


def _file_parts(snapshot: SettingsSnapshot, stage: str) -> Iterator[RecipePart]:
    for policy in snapshot.policies.policies:
        value = policy_hash(policy)
        yield RecipePart(name=POLICIES, of=policy.id, value=value)
    if stage == Stage.POLICY_COUNTERFACTUALS and snapshot.second_policies:
        for policy in snapshot.second_policies.policies:
            value = policy_hash(policy)
            yield RecipePart(name=SECOND_POLICIES, of=policy.id, value=value)
    for name, digest in snapshot.templates.hashes(stage).items():
        yield RecipePart(name=TEMPLATE, of=name, value=f"#{digest}")


def _speaker_parts(settings: Settings, stage: str) -> Iterator[RecipePart]:
    for role in roles_in_use(settings, stage):
        by_role = _parts_of_speaker(settings, str(role))
        yield from _as_parts(by_role, str(role))
        for agent in _agents(settings, role):
            # An agent has the parts of its role, but for what it has of its own.
            own = {}
            for name, value in _parts_of_speaker(settings, agent).items():
                if by_role.get(name) != value:
                    own[name] = value
            yield from _as_parts(own, agent)


def _generation_parts(settings: Settings, stage: str) -> Iterator[RecipePart]:
    """Yield the generation at a stage where an adapter speaks: text depends on it nowhere else."""
    speakers = adapters_by_speaker(settings)
    in_use = set(map(str, roles_in_use(settings, stage)))
    if any(role_of(speaker) in in_use for speaker in speakers):
        number = settings.generation.number
        yield RecipePart(name="generation", of="", value=str(number))


def _agents(settings: Settings, role: Role) -> list[str]:
    """Return the agents of a role that have settings of their own and do speak."""
    agents = []
    for speaker in sorted(settings.roles):
        if speaker == role or role_of(speaker) != role:
            continue
        number = int(speaker.rpartition("_")[2])
        if number <= settings.deliberation.agents:
            agents.append(speaker)
    return agents


def _parts_of_speaker(settings: Settings, speaker: str) -> dict[str, str]:
    server = server_of(settings, speaker)
    parts = {"model": _REHEARSAL}
    if server is not None:
        parts = {"model": server.model_name, **_options(server)}
    if server is not None and is_managed(settings, speaker):
        arguments = settings.vllm.answer_options(server.model)
        if arguments:
            parts["vllm"] = _text(arguments)
    common = common_sampling(settings)
    sampling = for_speaker(sampling_by_speaker(settings), speaker, common)
    for name, value in sampling.model_dump(exclude_none=True).items():
        parts[f"sampling.{name}"] = _text(value)
    return parts


def _options(server: ServerSettings) -> dict[str, str]:
    """Return what else of a server bears on its answers, as far as it is not the default."""
    parts = {}
    for name, field in ServerSettings.model_fields.items():
        if name in _NOT_ON_TEXT or name in _TOLD_OTHERWISE:
            continue
        value = getattr(server, name)
        if value != field.default:
            parts[name] = _text(value)
    if server.reasoning_fields:
        parts["reasoning_fields"] = _text(server.reasoning_fields)
    return parts


def _setting_parts(settings: Settings, stage: str) -> Iterator[RecipePart]:
    yield _part("seed", settings.seed, 0)
    yield RecipePart(name="tokenizer", of="", value=_tokenizer(settings))
    yield from _group("answers", settings.answers)
    yield from _group("checks", settings.checks, _other_checks(stage))
    # A stage of your own may depend on any of these.
    is_own = stage not in set(Stage)
    if is_own or stage == Stage.DELIBERATED_COTS:
        yield from _group("deliberation", settings.deliberation)
    if is_own or stage in (Stage.COT_GRADES, Stage.PREFERENCE_PAIRS):
        yield from _grading_parts(settings.grading)
    if is_own or stage == Stage.PREFERENCE_PAIRS:
        yield from _group("pairs", settings.pairs)
    if stage == Stage.POLICY_COUNTERFACTUALS:
        yield from _contrast_parts(settings)
    roles = roles_in_use(settings, stage)
    if any(server_of(settings, str(role)) is None for role in roles):
        yield from _group(_REHEARSAL, settings.rehearsal, {"seconds_per_call"})


def _grading_parts(settings: GradingSettings) -> Iterator[RecipePart]:
    yield from _group("grading", settings, {"share"})
    # Batches made before there was a share have the recipe of those that grade every row.
    share = _part("grading.share", settings.share, GradingSettings().share)
    if not share.is_default:
        yield share


def _contrast_parts(settings: Settings) -> Iterator[RecipePart]:
    """Yield what a counterfactual depends on besides its policies and its speakers."""
    # The policies count by their text, and which of them are used shows in that.
    places = {"policies", "use_policies"}
    yield from _group("counterfactuals", settings.counterfactuals, places)
    if settings.counterfactuals.writer == "deliberation":
        yield from _group("deliberation", settings.deliberation)
    # How many rows are graded, and how widely versions are compared, has no say here.
    yield from _group("grading", settings.grading, {"compared", "share"})
    yield from _group("score_gate", settings.score_gate)
    for name in ("min_chosen_score", "max_rejected_score"):
        default = type(settings.pairs).model_fields[name].default
        yield _part(f"pairs.{name}", getattr(settings.pairs, name), default)


def _other_checks(stage: str) -> set[str]:
    """Return the checks that no row of a stage depends on."""
    definition = stage_named(stage)
    others = set(_OF_PARTITIONS)
    if not definition.row_gate and stage != Stage.POLICY_COUNTERFACTUALS:
        of_rows = set(type(Settings().checks).model_fields)
        others |= of_rows - set(BadTextSettings.model_fields)
    is_refined = issubclass(definition.record, RefinedCot)
    if not is_refined and stage != Stage.POLICY_COUNTERFACTUALS:
        others |= _OF_REFINEMENT
    return others


def _group(
    prefix: str, values: Record, without: Collection[str] = ()
) -> Iterator[RecipePart]:
    for name, field in type(values).model_fields.items():
        if name not in without:
            yield _part(f"{prefix}.{name}", getattr(values, name), field.default)


def _part(name: str, value: Any, default: Any) -> RecipePart:
    return RecipePart(name=name, of="", value=_text(value), is_default=value == default)


def _as_parts(values: Mapping[str, str], of: str) -> Iterator[RecipePart]:
    for name, value in values.items():
        yield RecipePart(name=name, of=of, value=value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        # It may hold anything, such as a whole chat template.
        return content_hash(json.dumps(value, sort_keys=True, default=str))
    return json.dumps(value, default=str)


def _tokenizer(settings: Settings) -> str:
    """Return what counts tokens: the content of a file, not its place."""
    if settings.tokenizer:
        path = settings.tokenizer
        file = path / "tokenizer.json" if path.is_dir() else path
        return f"#{_file_hash(file)}"
    if settings.engine == "vllm":
        return "the model's"
    if settings.engine == "endpoint" and settings.endpoint.tokenize:
        return "the server's"
    return "an estimate"


def _file_hash(file: Path) -> str:
    # A file that is missing is reported when it is loaded.
    if not file.is_file():
        return ""
    return hashlib.blake2b(file.read_bytes(), digest_size=6).hexdigest()
