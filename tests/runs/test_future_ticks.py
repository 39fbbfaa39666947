"""Sensors that ticked before the clock was set back are due again."""

import time
from pathlib import Path

import dagster as dg
import pytest

from aidsafe_dagster.runs.dagster_internals import SensorInstigatorData
from aidsafe_dagster.runs.future_ticks import forget_future_ticks
from tests.site import a_site


@pytest.mark.parametrize(
    ("ticked_in_s", "names"), [(3_600.0, ["recovery"]), (-10.0, []), (20.0, [])]
)
def test_a_sensor_whose_latest_tick_lies_ahead_is_made_due(
    tmp_path: Path, ticked_in_s: float, names: list[str]
) -> None:
    at = time.time() + ticked_in_s
    with a_site(tmp_path / "site") as site:
        record_tick(site.instance, at)
        assert forget_future_ticks(site.instance) == names
        (state,) = site.instance.all_instigator_state()
        data = state.instigator_data
        assert isinstance(data, SensorInstigatorData)
        assert data.last_tick_start_timestamp == (None if names else at)
        assert data.cursor == "seen"
        assert forget_future_ticks(site.instance) == []


def record_tick(instance: dg.DagsterInstance, at: float) -> None:
    """Record that the recovery sensor was looked at, as the daemon does."""
    from dagster._core.remote_origin import (
        RegisteredCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import (
        InstigatorState,
        InstigatorStatus,
        InstigatorType,
    )

    location = RegisteredCodeLocationOrigin("aidsafe_dagster")
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(location, "__repository__"), "recovery"
    )
    data = SensorInstigatorData(
        last_tick_timestamp=at, last_tick_start_timestamp=at, cursor="seen"
    )
    state = InstigatorState(
        origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data
    )
    instance.add_instigator_state(state)
