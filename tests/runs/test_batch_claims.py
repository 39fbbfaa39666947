"""Who works on a batch holds it, and those that wait do something else first."""

from contextlib import ExitStack
from pathlib import Path

from aidsafe_dagster.runs.advisory_lock import advisory_lock_is_free
from aidsafe_dagster.runs.batch_claims import claim_batch, claim_each
from aidsafe_dagster.runs.batch_lock import holder_of
from aidsafe_dagster.settings.schema import Settings


def test_what_another_works_on_comes_last_and_is_said_to_be_waited_for(tmp_path: Path) -> None:
    settings, told, taken = Settings(home=tmp_path), list[str](), list[str]()
    with ExitStack() as other:

        def tell(why: str) -> None:
            told.append(why)
            other.close()  # the other ends while it is waited for

        other.enter_context(claim_batch("a", settings, "another run", print))
        for batch in claim_each(["a", "b", "c"], settings, "this run", tell):
            taken.append(batch)
            assert holder_of(batch, tmp_path) == "this run"
    assert taken == ["b", "c", "a"]
    assert told == ["batch a is being worked on by another run; waiting for it to end"]
    assert all(holder_of(batch, tmp_path) is None for batch in taken)


def test_where_the_journal_is_a_file_there_are_no_other_hosts(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with claim_batch("a", settings, "this run", print):
        assert advisory_lock_is_free("batch a", settings)
