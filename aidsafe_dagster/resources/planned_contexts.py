"""How long the requests of a run get, for the engine of its settings."""

from collections.abc import Collection

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.context_preflight import (
    ContextFinding,
    context_findings,
    require_context,
)
from aidsafe_dagster.resources.continuation import require_continuation
from aidsafe_dagster.resources.engine_from_settings import (
    make_dialogue_context,
    make_engine,
)
from aidsafe_dagster.settings.snapshot import SettingsSnapshot


def check_planned_contexts(
    snapshot: SettingsSnapshot, stages: Collection[str]
) -> tuple[list[ContextFinding], list[str]]:
    """Return how long the requests of some stages get, and warnings for the run's log.

    Not for use inside an event loop; see `context_findings`.

    Raises:
        SetupError: a row with long answers would not fit; says who, when and what to change. Or the
            target's server cannot do what the position of the belief asks of it.
    """
    settings = snapshot.settings
    engine = make_engine(settings)
    if Stage.PREFERENCE_PAIRS in stages:
        require_continuation(settings, engine)
    dialogue_context = make_dialogue_context(snapshot, engine)
    findings = context_findings(settings, dialogue_context, engine, stages)
    return findings, require_context(findings, settings, dialogue_context)
