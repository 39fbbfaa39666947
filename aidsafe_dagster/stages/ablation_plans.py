"""The variants of each experiment, from the settings and what was asked for.

They are planned before anything runs: the command line says what an experiment will do, and the
asset then does it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.engines.roles import role_of
from aidsafe_dagster.recipe.ablations import Variant
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.launchpad import refuse_repointing
from aidsafe_dagster.settings.schema import Settings

AS_CONFIGURED = "as configured"
_JUDGES = (Role.JUDGE, Role.SECOND_JUDGE)
Roles = Mapping[str, Mapping[str, Any]]
"""By role or agent, its settings as in `[roles]`."""


class AblationConfig(dg.Config):
    sample: int = Field(
        default=0,
        ge=0,
        description="prompts to take: the same ones every time, and in every experiment; 0: "
        "ablation.sample of the settings",
    )
    batches: list[str] = Field(
        default=[], description="batches to take them from; empty: all"
    )


class RoundTableConfig(AblationConfig):
    agents: list[int] = Field(
        default=[], description="sizes of the round tables; empty: ablation.agents"
    )


class ModelsConfig(AblationConfig):
    variants: dict[str, dict[str, dict[str, str]]] = Field(
        default={},
        description="per variant the roles or agents that another model answers, as in the "
        'settings: {"mixed": {"deliberator_2": {"model": "…"}}}; empty: ablation.models',
    )


class TargetsConfig(AblationConfig):
    targets: dict[str, dict[str, str]] = Field(
        default={},
        description="further targets by name, as in the settings: "
        '{"aligned": {"model": "…", "server": "…"}}; empty: ablation.targets',
    )


@dataclass(frozen=True)
class PlannedVariant:
    """A variant, and the roles that other models answer than those of the settings."""

    variant: Variant
    roles: Roles = field(default_factory=dict)


def plan_variants(
    kind: str, settings: Settings, config: AblationConfig
) -> list[PlannedVariant]:
    """Return the variants of an experiment, the reference first.

    Args:
        kind: name of the experiment; not `targets`, which searches beliefs instead.
        settings: in force.
        config: of the run.

    Raises:
        SetupError: a variant cannot be made.
    """
    if isinstance(config, RoundTableConfig):
        return plan_round_table(settings, config.agents)
    if isinstance(config, ModelsConfig):
        return plan_models(settings, config.variants)
    return _PLANS[kind](settings)


def plan_rounds(settings: Settings) -> list[PlannedVariant]:
    """Deliberation cut off after 0, 1, 2, … rounds."""
    deliberation = settings.deliberation
    plan = []
    for rounds in range(deliberation.max_rounds + 1):
        name = "1 round" if rounds == 1 else f"{rounds} rounds"
        # Cut off, not configured with fewer rounds: the requests of the rounds stay the same, and
        # the journal answers them.
        variant = Variant(name, deliberation, stop_after=rounds)
        plan.append(PlannedVariant(variant))
    return plan


def plan_refiner(settings: Settings) -> list[PlannedVariant]:
    """Without the refiner and with it."""
    unrefined = Variant("without refiner", settings.deliberation, refined=False)
    refined = Variant("with refiner", settings.deliberation)
    return [PlannedVariant(unrefined), PlannedVariant(refined)]


def plan_baseline(settings: Settings) -> list[PlannedVariant]:
    """A single call against deliberation and refinement."""
    single = Variant("single LLM", settings.deliberation, single=True)
    whole = Variant("deliberated and refined", settings.deliberation)
    return [PlannedVariant(single), PlannedVariant(whole)]


def plan_round_table(
    settings: Settings, agents: Sequence[int] = ()
) -> list[PlannedVariant]:
    """Agents in turn against round tables of several sizes."""
    configured = settings.deliberation
    # The reference is agents in turn, also where the settings name the round table.
    in_turn = configured.model_copy(update={"style": "in_turn"})
    reference = Variant(f"{in_turn.agents} in turn", in_turn)
    plan = [PlannedVariant(reference)]
    for size in dict.fromkeys(agents or settings.ablation.agents):
        changes = {"style": "round_table", "agents": size}
        # Not `model_copy`, which would take a number of agents that the settings refuse.
        deliberation = DeliberationSettings.model_validate(
            configured.model_dump() | changes
        )
        variant = Variant(f"round table of {size}", deliberation)
        plan.append(PlannedVariant(variant))
    return plan


def plan_context(settings: Settings) -> list[PlannedVariant]:
    """What agents are shown: the state of the row, or all that was said so far."""
    plan = []
    for kind in ("fresh", "chat"):
        deliberation = settings.deliberation.model_copy(update={"context": kind})
        plan.append(PlannedVariant(Variant(kind, deliberation)))
    return plan


_PLANS: Mapping[str, Callable[[Settings], list[PlannedVariant]]] = {
    "rounds": plan_rounds,
    "refiner": plan_refiner,
    "baseline": plan_baseline,
    "context": plan_context,
}
"""Of the experiments that take no configuration but that of the sample."""


def plan_models(
    settings: Settings, asked: Mapping[str, Roles] | None = None
) -> list[PlannedVariant]:
    """Plan the configured models against others for some roles; the judges stay the same.

    Args:
        settings: in force.
        asked: the roles of each variant; none: those of the settings.

    Raises:
        SetupError: there is no variant; or one names a judge, or an agent that never speaks.
    """
    refuse_repointing(_overrides(asked or {}), settings.launchpad)
    variants = asked or _configured_models(settings)
    if not variants:
        raise SetupError(
            "ablate models: name the models to compare with those of the settings, such as "
            "`aidsafe ablate models small large`, or variants in aidsafe.toml: "
            '[ablation.models."small deliberators"] deliberator = { model = "…" }'
        )
    deliberation = settings.deliberation
    plan = [PlannedVariant(Variant(AS_CONFIGURED, deliberation))]
    for name, roles in variants.items():
        if name == AS_CONFIGURED:
            raise SetupError(
                f"ablate models: '{name}' is the variant that is always there; choose another name"
            )
        _check_roles(name, roles, deliberation)
        complete = _with_agents(roles, settings)
        plan.append(PlannedVariant(Variant(name, deliberation), complete))
    return plan


def target_roles(
    settings: Settings, asked: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Roles]:
    """Return the roles of each target by its name: the configured one first, which has none.

    Args:
        settings: in force.
        asked: the further targets; none: those of the settings.

    Raises:
        SetupError: a target has the name of the configured one.
    """
    asked_roles = {
        name: {str(Role.TARGET): role} for name, role in (asked or {}).items()
    }
    refuse_repointing(_overrides(asked_roles), settings.launchpad)
    targets: dict[str, Roles] = {AS_CONFIGURED: {}}
    configured = {
        name: {str(Role.TARGET): _settings_of(role)}
        for name, role in settings.ablation.targets.items()
    }
    # Only the target changes. The same whisperer and judges keep the searches comparable.
    for name, roles in (asked_roles or configured).items():
        if name in targets:
            raise SetupError(
                f"ablate targets: '{name}' is the target of the settings, which is always "
                "measured; choose another name"
            )
        targets[name] = roles
    return targets


def nothing_to_search() -> SetupError:
    """Return the error of an experiment on targets whose sample has no chosen side."""
    return SetupError(
        "ablate targets: no prompt of the sample has a graded refined CoT, which the answers of a "
        "target are held against; make a batch first: `aidsafe backfill`"
    )


def _overrides(variants: Mapping[str, Roles]) -> dict[str, Any]:
    """Return what variants change, as overrides of the settings."""
    roles: dict[str, dict[str, Any]] = {}
    for changed in variants.values():
        for speaker, values in changed.items():
            roles.setdefault(speaker, {}).update(values)
    return {"roles": roles} if roles else {}


def _configured_models(settings: Settings) -> dict[str, Roles]:
    variants: dict[str, Roles] = {}
    for name, roles in settings.ablation.models.items():
        variants[name] = {
            speaker: _settings_of(role) for speaker, role in roles.items()
        }
    return variants


def _settings_of(role: Any) -> dict[str, Any]:
    values: dict[str, Any] = role.model_dump(mode="json", exclude_unset=True)
    return values


def _check_roles(name: str, roles: Roles, deliberation: DeliberationSettings) -> None:
    for speaker in roles:
        if speaker in _JUDGES:
            raise SetupError(
                f"ablate models, '{name}': {speaker} cannot differ between variants, since their "
                "scores are compared"
            )
        number = speaker.rpartition("_")[2]
        is_agent = role_of(speaker) != speaker
        if is_agent and int(number) > deliberation.agents:
            raise SetupError(
                f"ablate models, '{name}': there is no {speaker}, since deliberation.agents is "
                f"{deliberation.agents}"
            )


def _with_agents(roles: Roles, settings: Settings) -> Roles:
    """Return the roles, and those agents of a changed role that have settings of their own.

    An agent's own model would otherwise be left in place.
    """
    complete = dict(roles)
    for speaker in settings.roles:
        role = role_of(speaker)
        if role != speaker and role in roles:
            complete.setdefault(speaker, roles[role])
    return complete
