import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from aidsafe_dagster.engines.journal import Entry, Journal, read_answers
from aidsafe_dagster.primitives.held_lock import LockLost
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.recipe.dialogue import Completion, Request, Sampling, SamplingTable
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Message, Role, Stage, Usage
from tests.site import ROOT


def a_request(**changes: object) -> Request:
    values = {
        "prompt_id": "p1",
        "stage": Stage.SEED_COTS,
        "role": Role.INITIALIZER,
        "turn": 0,
        "messages": (Message(role="user", content="Hello"),),
        "schema": {"type": "object"},
        "sampling": Sampling(),
        "seed": 7,
        "draw": 0,
    }
    return Request(**(values | changes))  # type: ignore[arg-type]


def a_completion(text: str = "{}") -> Completion:
    return Completion(
        text=text,
        model="m",
        usage=Usage(calls=1, prompt_tokens=3, cached_tokens=2, completion_tokens=1),
    )


def a_journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'deep' / 'journal.sqlite'}")


def test_a_second_connection_finds_what_is_recorded(tmp_path: Path) -> None:
    one, other = a_journal(tmp_path), a_journal(tmp_path)
    one.record(Entry("key", a_request(), a_completion('{"a": "\\u00e9 🧨"}'), 0.5))
    assert other.find("key") == a_completion('{"a": "\\u00e9 🧨"}')
    assert other.find("another key") is None
    one.close()
    other.close()


def test_the_first_of_two_completions_of_one_request_stays(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.record(Entry("key", a_request(), a_completion("first"), 0.1))
    assert (
        journal.record(Entry("key", a_request(), a_completion("second"), 0.1)).text
        == "first"
    )
    journal.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": (Message(role="user", content="Hello!"),)},
        {"schema": {"type": "array"}},
        {"sampling": Sampling(temperature=0.1)},
        {"seed": 8},
        {"draw": 1},
    ],
)
def test_the_key_changes_with_everything_that_may_change_the_answer(
    changes: dict[str, object],
) -> None:
    assert a_request().key("m") != a_request(**changes).key("m")
    assert a_request().key("m") != a_request().key("another model")


def test_the_key_does_not_depend_on_the_row_or_the_turn() -> None:
    assert a_request().key("m") == a_request(
        prompt_id="p2", turn=4, inputs=object()
    ).key("m")


def test_the_key_of_a_plain_request_is_that_of_earlier_releases() -> None:
    # Recorded by release 0.1. Journals of users hold such keys, so they must never change.
    sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=4096)
    plain = a_request(sampling=sampling)
    assert plain.key("m") == "acca5e2fd9f758391feb003950ae3092"
    labelled = a_request(labels=("Yes", "No"), draw=2, schema={}, sampling=sampling)
    assert labelled.key("m@main") == "f53d5921b50ff7c2d783903cafa3979b"


def test_an_answer_that_may_be_ended_early_has_the_key_of_any_other() -> None:
    assert a_request(end_loops=True).key("m") == a_request().key("m")


def test_options_of_the_server_are_part_of_the_key() -> None:
    request = a_request()
    options = '{"extra_body": {"top_k": 20}}'
    keys = {request.key("m"), request.key("m", options), request.key("m", "{}")}
    assert len(keys) == 3


def test_a_sampling_field_that_is_not_sent_is_not_in_the_key_either() -> None:
    one = a_request(sampling=SamplingTable(max_tokens=10))
    other = a_request(sampling=SamplingTable(max_tokens=10, temperature=0.7))
    assert one.key("m") != other.key("m")


def test_a_journal_without_the_later_columns_gets_them_and_keeps_its_rows(
    tmp_path: Path,
) -> None:
    journal = a_journal(tmp_path)
    journal.record(Entry("old", a_request(), a_completion("old"), 0.1))
    journal.close()
    file = tmp_path / "deep" / "journal.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE completions DROP COLUMN reasoning")
        database.execute("ALTER TABLE completions DROP COLUMN reasoning_tokens")
        database.commit()
    reopened = a_journal(tmp_path)
    assert reopened.find("old") == a_completion("old")
    thoughtful = a_completion("new").model_copy(update={"reasoning": "Let me see."})
    reopened.record(Entry("new", a_request(), thoughtful, 0.1))
    assert reopened.find("new") == thoughtful
    reopened.close()


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal._connection.execute(sa.text("UPDATE journal SET version = 99"))
    journal.close()
    with pytest.raises(SetupError, match="version 99 by a later release"):
        a_journal(tmp_path)


def test_of_several_entries_recorded_at_once_each_keeps_its_first_completion(
    tmp_path: Path,
) -> None:
    journal = a_journal(tmp_path)
    journal.record(Entry("b", a_request(), a_completion("first"), 0.1))
    recorded = journal.record_all(
        [Entry(key, a_request(), a_completion(f"new {key}"), 0.1) for key in "abc"]
    )
    assert {key: completion.text for key, completion in recorded.items()} == {
        "a": "new a",
        "b": "first",
        "c": "new c",
    }
    assert journal.find_all(["a", "b", "nobody"]) == {
        key: recorded[key] for key in "ab"
    }
    journal.close()


def test_a_locked_journal_is_awaited_and_then_named(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    Journal(url).close()
    with a_lock_on(tmp_path / "journal.sqlite", seconds=0.5):
        journal = Journal(url)
        journal.record(Entry("key", a_request(), a_completion(), 0.1))
    with a_lock_on(tmp_path / "journal.sqlite", seconds=30):
        hurried = Journal(f"{url}?timeout=0.2")
        assert hurried.find("key") == a_completion()
        with pytest.raises(SetupError, match="another process has kept it locked"):
            hurried.record(Entry("other", a_request(), a_completion(), 0.1))
        hurried.close()
    journal.close()


def test_a_lock_that_is_lost_while_an_entry_waits_for_the_file_keeps_it_out(
    tmp_path: Path,
) -> None:
    lock = LockFile(tmp_path / "batch.lock")
    with lock.hold("this process", print), ThreadPoolExecutor() as threads:
        journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}", lock)
        journal.record(Entry("before", a_request(), a_completion(), 0.1))
        with a_lock_on(tmp_path / "journal.sqlite", seconds=60):
            late = Entry("late", a_request(), a_completion(), 0.1)
            waiting = threads.submit(journal.record, late)
            # It has looked at everything by then that it looks at before it waits.
            time.sleep(0.5)
            lock.path.unlink()
            other = LockFile(lock.path)
            assert other.try_hold("another process")
        with pytest.raises(LockLost):
            waiting.result()
        assert journal.find("before") is not None
        assert journal.find("late") is None
        journal.close()
        other.release()


def test_several_processes_create_the_same_journal_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from aidsafe_dagster.engines.journal import Journal; "
        "Journal(sys.argv[1]).close()"
    )
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    processes = [
        subprocess.Popen([sys.executable, "-c", script, url], cwd=ROOT)
        for _ in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]


def test_an_entry_lost_in_a_power_cut_leaves_the_others_intact(
    tmp_path: Path,
) -> None:
    live = a_journal(tmp_path)
    for number in range(20):
        completion = a_completion(f"text {number} " * 500)
        live.record(Entry(f"key {number}", a_request(), completion, 0.1))
    # A copy of the open files is what a power cut leaves.
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "deep", cut)
    live.close()
    wal = cut / "journal.sqlite-wal"
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size - 3000)
    after = Journal(f"sqlite:///{cut / 'journal.sqlite'}")
    for number in range(19):
        kept = after.find(f"key {number}")
        assert kept is not None
        assert kept.text == f"text {number} " * 500
    assert after.find("key 19") is None
    after.record(Entry("key 19", a_request(), a_completion("again"), 0.1))
    after.close()


def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    for number in range(200):
        journal.record(
            Entry(f"key {number}", a_request(), a_completion("text " * 500), 0.1)
        )
    journal.close()
    file = tmp_path / "deep" / "journal.sqlite"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    with pytest.raises(SetupError, match=r"damaged .*\.recover.*move it away"):
        a_journal(tmp_path)


def test_a_table_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:
        connection.execute(
            "CREATE TABLE completions (key TEXT PRIMARY KEY, answer TEXT)"
        )
    with pytest.raises(SetupError, match="lacks prompt_id, stage"):
        Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")


@contextmanager
def a_lock_on(file: Path, seconds: float) -> Iterator[None]:
    """Let another process hold a lock for so long, or until the block ends."""
    script = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); time.sleep(float(sys.argv[2]))"
    )
    command = [sys.executable, "-c", script, str(file), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            yield
        finally:
            holder.kill()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "journal.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(SetupError, match="cannot be opened"):
        a_journal(tmp_path)


def test_the_answers_to_a_call_are_read_without_a_write(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.record(Entry("1", a_request(turn=2), a_completion("first"), 0.1))
    journal.record(Entry("2", a_request(turn=2), a_completion("of new settings"), 0.1))
    for other in ({"turn": 1}, {"turn": 2, "draw": 1}, {"turn": 2, "prompt_id": "p2"}):
        journal.record(Entry(str(other), a_request(**other), a_completion("no"), 0.1))
    journal.close()
    file = tmp_path / "deep" / "journal.sqlite"
    file.chmod(0o444)
    before = file.read_bytes()
    answers = read_answers(f"sqlite:///{file}", "p1", "seed_cots", turn=2, draw=0)
    assert [answer.text for answer in answers] == ["first", "of new settings"]
    assert {(answer.role, answer.model) for answer in answers} == {("initializer", "m")}
    assert file.read_bytes() == before


def test_answers_are_read_while_a_run_writes(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.record(Entry("1", a_request(), a_completion("said"), 0.1))
    url = str(journal.url)
    assert read_answers(url, "p1", "seed_cots", 0, 0)[0].text == "said"
    journal.record(Entry("2", a_request(turn=1), a_completion("more"), 0.1))
    assert read_answers(url, "p1", "seed_cots", 1, 0)[0].text == "more"
    journal.close()


def test_reading_answers_makes_no_journal(tmp_path: Path) -> None:
    file = tmp_path / "none" / "journal.sqlite"
    assert read_answers(f"sqlite:///{file}", "p1", "seed_cots", 0, 0) == []
    assert not file.parent.exists()


def test_answers_of_what_is_no_journal_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a file #1.sqlite"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(SetupError, match="cannot be read: file is not a database"):
        read_answers(f"sqlite:///{file}", "p1", "seed_cots", 0, 0)


def test_a_journal_that_is_removed_under_its_user_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = a_journal(tmp_path), a_journal(tmp_path)
    one.record(Entry("before", a_request(), a_completion("kept"), 0.1))
    for file in (tmp_path / "deep").iterdir():
        file.unlink()
    # In the order in which two runs notice; the second one finds the file of the first.
    one.record(Entry("after", a_request(), a_completion("taken"), 0.1))
    other.record(Entry("beside", a_request(), a_completion("merged"), 0.1))
    one.close()
    other.close()
    later = a_journal(tmp_path)
    completions = later.find_all(["before", "after", "beside"])
    texts = {key: completion.text for key, completion in completions.items()}
    assert texts == {"before": "kept", "after": "taken", "beside": "merged"}
    later.close()
    assert "its file was removed while this run uses it" in caplog.text


def test_a_journal_that_is_removed_before_the_end_is_written_anew_as_it_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = a_journal(tmp_path)
    journal.record(Entry("key", a_request(), a_completion("kept"), 0.1))
    for file in (tmp_path / "deep").iterdir():
        file.unlink()
    journal.close()
    later = a_journal(tmp_path)
    assert later.find("key") == a_completion("kept")
    later.close()
    assert "written anew" in caplog.text
