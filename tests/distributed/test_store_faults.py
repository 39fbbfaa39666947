"""A lake in an object store that is busy, slow or silent in mid-batch, and one that stays away."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.distributed.faulty_store import Faults, a_faulty
from tests.distributed.object_store import ObjectStore, an_object_store
from tests.faults.commands import (
    AIDSAFE,
    Process,
    answered_calls,
    fill,
    is_running,
    printed,
    served_by,
    stage_texts,
    started,
    wait_until,
)
from tests.faults.conftest import Undisturbed
from tests.serving import ModelServer, a_model_server
from tests.site import a_site

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(900)]
FAULTY_S = 25.0
"""Longer than a call may take (`served_by`): none of them may hang on the store."""


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[ObjectStore, Faults]]:
    """One for all tests: fsspec keeps the address that a process has used first."""
    with an_object_store() as store, a_faulty(store) as door:
        yield door


def lake_in(store: ObjectStore, name: str) -> Mapping[str, str]:
    """The variables of a command whose lake is a folder of its own in the store."""
    return {"AIDSAFE_LAKE_URL": f"s3://aidsafe/{name}", **store.environment}


@contextmanager
def in_mid_batch(
    folder: Path, server: ModelServer, variables: Mapping[str, str]
) -> Iterator[Process]:
    """A backfill that has had some answers."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        fill(folder, server)
    with started(folder, *AIDSAFE, "backfill", **variables) as backfill:
        wait_until(lambda: server.stats().get("ok", 0) >= 20, is_running(backfill))
        yield backfill


def assert_like_undisturbed(
    folder: Path,
    server: ModelServer,
    variables: Mapping[str, str],
    undisturbed: Undisturbed,
) -> None:
    assert answered_calls(server) == undisturbed.calls
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts


def busy(faults: Faults) -> None:
    faults.is_busy = True


def slow(faults: Faults) -> None:
    faults.is_slow = True


def silent(faults: Faults) -> None:
    faults.is_silent = True


@pytest.mark.parametrize("fault", [busy, slow, silent])
def test_a_batch_outlasts_a_store_that_fails_for_a_while_and_no_call_is_made_again(
    tmp_path: Path,
    door: tuple[ObjectStore, Faults],
    undisturbed: Undisturbed,
    fault: Callable[[Faults], None],
) -> None:
    folder = tmp_path / "site"
    store, faults = door
    with a_model_server(tmp_path) as server:
        variables = lake_in(store, fault.__name__)
        with in_mid_batch(folder, server, variables) as backfill:
            faults.begin()
            fault(faults)
            wait_until(lambda: faults.met > 0, is_running(backfill))
            time.sleep(FAULTY_S)
            faults.end()
            assert backfill.wait(300) == 0, printed(folder)
        assert_like_undisturbed(folder, server, variables, undisturbed)


def test_a_store_that_stays_away_is_named_and_nothing_is_lost(
    tmp_path: Path, door: tuple[ObjectStore, Faults], undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    store, faults = door
    with a_model_server(tmp_path) as server:
        variables = lake_in(store, "away")
        with in_mid_batch(folder, server, variables) as backfill:
            faults.begin()
            busy(faults)
            assert backfill.wait(400) in (1, 2), printed(folder)
        text = printed(folder)
        assert "s3://aidsafe/away/" in text
        assert "the store has failed for 120 s" in text
        assert "start again once the store is back" in text
        assert "Traceback" not in text
        assert "not a readable Parquet file" not in text
        faults.end()
        with started(folder, *AIDSAFE, "backfill", **variables) as backfill:
            assert backfill.wait(300) == 0, printed(folder)
        assert_like_undisturbed(folder, server, variables, undisturbed)
