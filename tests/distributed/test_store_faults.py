"""A lake in an object store that is busy, slow, silent or away in mid-batch."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.faulty_store import Faults, a_faulty
from tests.distributed.object_store import ObjectStore, an_object_store
from tests.faults.commands import (
    AIDSAFE,
    BATCH,
    answered_calls,
    fill,
    is_running,
    printed,
    served_by,
    stage_texts,
    started,
    wait_until,
)
from tests.faults.conftest import Undisturbed, undisturbed  # noqa: F401
from tests.serving import ModelServer, a_model_server
from tests.site import a_site, aidsafe

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with an_object_store() as store:
        yield store


def lake_in(store: ObjectStore, name: str) -> dict[str, str]:
    """The variables of a command whose lake is a folder of its own in the store."""
    return {"AIDSAFE_LAKE_URL": f"s3://aidsafe/{name}", **store.environment}


def is_busy(faults: Faults) -> None:
    faults.is_busy = True


def is_slow(faults: Faults) -> None:
    faults.is_slow = True


def is_silent(faults: Faults) -> None:
    faults.is_silent = True


@pytest.mark.parametrize("fault", [is_busy, is_slow, is_silent])
def test_a_batch_outlasts_a_store_that_fails_for_a_while(
    tmp_path: Path,
    store: ObjectStore,
    undisturbed: Undisturbed,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Faults], None],
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server, a_faulty(store) as (door, faults):
        variables = lake_in(door, fault.__name__)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        fill(folder, server)
        with started(folder, *AIDSAFE, "backfill", **variables) as backfill:
            wait_until(lambda: server.stats().get("ok", 0) >= 30, is_running(backfill))
            fault(faults)
            wait_until(lambda: faults.refusals > 0, is_running(backfill))
            time.sleep(20)
            faults.end()
            assert backfill.wait(300) == 0, printed(folder)
        assert answered_calls(server) == undisturbed.calls
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts
    monkeypatch.undo()


def test_a_store_that_stays_away_is_named_and_nothing_is_lost(
    tmp_path: Path,
    store: ObjectStore,
    undisturbed: Undisturbed,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server, a_faulty(store) as (door, faults):
        variables = lake_in(door, "away")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        fill(folder, server)
        with started(folder, *AIDSAFE, "backfill", **variables) as backfill:
            wait_until(lambda: server.stats().get("ok", 0) >= 30, is_running(backfill))
            faults.is_busy = True
            assert backfill.wait(600) == 1, printed(folder)
        text = printed(folder)
        assert "s3://aidsafe/away" in text
        assert "the store has failed for" in text
        assert "Traceback" not in text
        before = server.stats()["ok"]
        status = aidsafe(folder, "status")
        faults.end()
        print(text, status)
        with started(folder, *AIDSAFE, "backfill", **variables) as backfill:
            assert backfill.wait(300) == 0, printed(folder)
        assert answered_calls(server) == undisturbed.calls
        assert server.stats()["ok"] > before
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts
