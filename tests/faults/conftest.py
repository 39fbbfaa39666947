"""The results of undisturbed runs, made once for all modules here."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.commands import BATCH, answered_calls, fill, served_by, stage_texts
from tests.faults.forks import forked, printed_by
from tests.faults.several_batches import Backfill, several_batches, texts_of
from tests.serving import a_model_server
from tests.site import a_site


@dataclass(frozen=True)
class Undisturbed:
    texts: dict[str, Any]
    calls: Counter[tuple[str, str, int]]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    with a_model_server(folder) as server:
        fill(folder / "site", server)
        with a_site(folder / "site", **served_by(server)) as site:
            run = site.make(BATCH)
            assert run.success, run.error
            return Undisturbed(stage_texts(site), answered_calls(server))


@pytest.fixture(scope="session")
def undisturbed_backfill(tmp_path_factory: pytest.TempPathFactory) -> Backfill:
    """Several batches, made by one command."""
    folder = tmp_path_factory.mktemp("undisturbed_backfill")
    with (
        a_model_server(folder) as server,
        several_batches(folder / "site", server) as site,
    ):
        with forked(site.folder, "backfill") as command:
            command.join(280)
            assert command.exitcode == 0, printed_by(site.folder, command)
        return Backfill(texts_of(site), answered_calls(server).total())
