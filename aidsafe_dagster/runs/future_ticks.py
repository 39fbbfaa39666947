"""Sensors whose latest tick lies ahead, since the clock was set back after it.

Dagster's daemon waits until such a sensor's interval has passed since then, which may be hours.
"""

import time

import dagster as dg

from aidsafe_dagster.runs.dagster_internals import SensorInstigatorData

CLOCKS_AGREE_WITHIN_S = 60.0


def forget_future_ticks(instance: dg.DagsterInstance) -> list[str]:
    """Make sensors due whose latest tick lies ahead, and return their names.

    To be called while no daemon runs, which would write what it remembers.
    """
    names = []
    for state in instance.all_instigator_state():
        data = state.instigator_data
        if isinstance(data, SensorInstigatorData) and _is_ahead(data):
            due = data._replace(
                last_tick_timestamp=None, last_tick_start_timestamp=None
            )
            instance.update_instigator_state(state.with_data(due))
            names.append(state.instigator_name)
    return names


def _is_ahead(data: SensorInstigatorData) -> bool:
    # Dagster counts from the later of the two.
    started = data.last_tick_start_timestamp or 0.0
    ended = data.last_tick_timestamp or 0.0
    return max(started, ended) > time.time() + CLOCKS_AGREE_WITHIN_S
