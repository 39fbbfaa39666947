"""A batch is worked on by one run at a time, and those that wait do something else first."""

from contextlib import ExitStack
from pathlib import Path

from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.runs.batch_claims import claim_batch, claim_each
from aidsafe_dagster.runs.locks import batch_lock
from aidsafe_dagster.settings.schema import Settings


def test_a_batch_that_another_run_works_on_comes_last_and_the_wait_is_announced(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path)
    messages = list[str]()
    claimed = list[str]()
    with ExitStack() as other_run:

        def on_wait(message: str) -> None:
            messages.append(message)
            other_run.close()  # the other run ends while this one waits

        other_run.enter_context(claim_batch("a", settings, "another run", print))
        for batch in claim_each(["a", "b", "c"], settings, "this run", on_wait):
            claimed.append(batch)
            assert batch_lock(batch, settings).holder() == "this run"
    assert claimed == ["b", "c", "a"]
    assert messages == [
        "batch a is being worked on by another run; waiting for it to end"
    ]
    assert all(batch_lock(batch, settings).holder() is None for batch in claimed)


def test_where_the_journal_is_a_file_there_are_no_other_hosts(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    lock = batch_lock("a", settings)
    assert isinstance(lock, LockFile)
    with claim_batch("b", settings, "this run", print):
        assert not lock.is_held()
