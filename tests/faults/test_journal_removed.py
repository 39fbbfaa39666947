"""The journal is removed in mid-batch, as by somebody who clears a folder that fills the disk."""

from collections import Counter
from pathlib import Path

import pytest

from tests.faults.commands import (
    SLOTS,
    answered_calls,
    fill,
    served_by,
    stage_texts,
    wait_until,
)
from tests.faults.conftest import Undisturbed
from tests.faults.forks import forked, printed_by
from tests.faults.test_killed import count_journaled
from tests.serving import a_model_server
from tests.site import a_site

pytestmark = pytest.mark.slow


def remove_journal(folder: Path) -> None:
    for file in (folder / "data").glob("journal.sqlite*"):
        file.unlink()


def test_a_batch_goes_on_as_if_nothing_were_when_its_journal_is_removed(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with forked(folder, "backfill") as backfill:
            for calls in (30, 80):
                wait_until(
                    lambda: server.stats().get("ok", 0) >= calls,  # noqa: B023
                    backfill.is_alive,
                )
                remove_journal(folder)
            backfill.join(120)
            printed = printed_by(folder, backfill)
            assert backfill.exitcode == 0, printed
        assert "its file was removed while this run uses it" in printed
        assert answered_calls(server) == undisturbed.calls
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts
    assert count_journaled(folder) == undisturbed.calls.total()


def test_a_kill_after_the_journal_was_removed_costs_no_call_that_was_recorded_anew(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder = tmp_path / "site"
    with a_model_server(tmp_path) as server:
        fill(folder, server)
        with forked(folder, "backfill") as backfill:
            wait_until(lambda: server.stats().get("ok", 0) >= 60, backfill.is_alive)
            remove_journal(folder)
            # The first call after that has the journal written anew.
            wait_until(lambda: server.stats()["ok"] >= 80, backfill.is_alive)
        with forked(folder, "backfill") as again:
            again.join(120)
            assert again.exitcode == 0, printed_by(folder, again)
        repeated: Counter[tuple[str, str, int]] = (
            answered_calls(server) - undisturbed.calls
        )
        assert repeated.total() <= SLOTS  # those in flight at the kill
        with a_site(folder, **served_by(server)) as site:
            assert stage_texts(site) == undisturbed.texts
