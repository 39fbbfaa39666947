"""A journal that is compacted: smaller, with every answer as it was."""

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aidsafe_dagster.engines.journal import Entry, Journal, read_answers
from aidsafe_dagster.engines.journal_compaction import Compaction, compact
from aidsafe_dagster.recipe.dialogue import Completion
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.test_journal import a_completion, a_request
from tests.site import ROOT

_NOISE = random.Random(7)
_WORDS = ("policy", "asks", "whether", "rule", "applies", "user", "wants", "here")
ODD = {
    "empty": "",
    "nul": "before\x00after",
    "unicode": '{"a": "\\u00e9 🧨 \u202e"}',
    "noise": "".join(chr(_NOISE.randrange(32, 0x2FFF)) for _ in range(300)),
    "long": '{"thought": "' + "again and again " * 20_000 + '"}',
}


def an_answer(number: int) -> Completion:
    words = _NOISE.choices(_WORDS, k=60)
    text = f'{{"thought": "{" ".join(words)}", "rules": ["illegal.{number}"]}}'
    reasoning = " ".join(reversed(words)) if number % 3 == 0 else ""
    return a_completion(text).model_copy(update={"reasoning": reasoning})


@contextmanager
def opened(file: Path) -> Iterator[Journal]:
    with closing(Journal(f"sqlite:///{file}")) as journal:
        yield journal


def a_full_journal(file: Path, count: int = 1200) -> dict[str, Completion]:
    """Fill a journal and return its answers by key."""
    answers = {name: a_completion(text) for name, text in ODD.items()}
    for number in range(count):
        answers[f"key {number}"] = an_answer(number)
    entries = []
    for key, answer in answers.items():
        entries.append(Entry(key, a_request(prompt_id=f"p {key}"), answer, 0.5))
    with opened(file) as journal:
        journal.record_all(entries)
    return answers


def all_of(file: Path, answers: dict[str, Completion]) -> dict[str, Completion]:
    """Return what a journal holds for the keys of these answers, one by one and together."""
    with opened(file) as journal:
        together = journal.find_all(list(answers))
        for key, answer in together.items():
            assert journal.find(key) == answer
    return together


def compacted(file: Path) -> Compaction:
    return compact(f"sqlite:///{file}", lambda done, total: None)


def whole_rows(file: Path) -> list[tuple[object, ...]]:
    """Return the columns that are not packed, of every entry."""
    columns = "key, prompt_id, stage, role, turn, draw, model, seconds, recorded_at"
    with closing(sqlite3.connect(file)) as database:
        return database.execute(
            f"SELECT {columns} FROM completions ORDER BY key"
        ).fetchall()


def test_every_answer_is_read_as_before_from_a_smaller_file(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    answers = a_full_journal(file)
    rows = whole_rows(file)
    outcome = compacted(file)
    assert all_of(file, answers) == answers
    assert whole_rows(file) == rows
    assert outcome.entries == len(answers)
    # Three of the odd answers would not shrink.
    assert outcome.packed == len(answers) - 3
    assert outcome.size_after == file.stat().st_size < outcome.size_before / 2


def test_a_compacted_journal_takes_new_answers_and_is_compacted_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "journal.sqlite"
    answers = a_full_journal(file)
    compacted(file)
    with opened(file) as journal:
        answers["new"] = an_answer(1)
        journal.record(Entry("new", a_request(), answers["new"], 0.1))
        # The first answer to a call stays, packed or not.
        kept = journal.record(Entry("key 0", a_request(), a_completion("other"), 0.1))
    assert kept == answers["key 0"]
    assert compacted(file).packed == 1
    assert compacted(file).packed == 0
    assert all_of(file, answers) == answers


@pytest.mark.parametrize("texts", [(), ("", "")])
def test_a_journal_without_a_word_in_it_is_compacted_and_filled_later(
    tmp_path: Path, texts: tuple[str, ...]
) -> None:
    file = tmp_path / "journal.sqlite"
    with opened(file) as journal:
        for number, text in enumerate(texts):
            journal.record(
                Entry(f"empty {number}", a_request(), a_completion(text), 0.5)
            )
    compacted(file)
    answers = a_full_journal(file)
    assert compacted(file).packed > 1000
    assert all_of(file, answers) == answers


def test_a_dictionary_of_few_answers_is_followed_by_one_of_many(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    first = an_answer(3)
    with opened(file) as journal:
        journal.record(Entry("first", a_request(), first, 0.5))
    compacted(file)
    answers = a_full_journal(file)
    compacted(file)
    other = tmp_path / "other.sqlite"
    a_full_journal(other)
    compacted(other)
    assert file.stat().st_size < 1.1 * other.stat().st_size
    answers["first"] = first
    assert all_of(file, answers) == answers


@pytest.mark.parametrize("transactions", [0, 1, 2])
def test_a_compaction_that_is_killed_loses_nothing_and_is_finished_by_the_next(
    tmp_path: Path, transactions: int
) -> None:
    file = tmp_path / "journal.sqlite"
    answers = a_full_journal(file)
    process = _killed_after(file, transactions)
    assert process.returncode == -signal.SIGKILL
    assert all_of(file, answers) == answers
    outcome = compacted(file)
    assert all_of(file, answers) == answers
    assert outcome.packed < len(answers) - transactions * 400


def _killed_after(
    file: Path, transactions: int
) -> "subprocess.CompletedProcess[bytes]":
    """Compact a journal in a process that is killed after so many transactions."""
    program = f"""
import os, signal
from aidsafe_dagster.engines import journal_compaction
calls = 0
def on_progress(done, total):
    global calls
    calls += 1
    if calls == {transactions}:
        os.kill(os.getpid(), signal.SIGKILL)
if {transactions} == 0:
    # In the middle of a transaction: the file is changed, and nothing is committed.
    def trace(statement):
        if statement.startswith("UPDATE completions"):
            os.kill(os.getpid(), signal.SIGKILL)
    import sqlite3
    connect = sqlite3.connect
    def traced(*arguments, **options):
        database = connect(*arguments, **options)
        database.set_trace_callback(trace)
        return database
    sqlite3.connect = traced
journal_compaction.compact("sqlite:///{file}", on_progress)
"""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)


def test_a_journal_in_use_is_left_alone_and_its_user_named(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    answers = a_full_journal(file, 20)
    program = (
        "import sys; from aidsafe_dagster.engines.journal import Journal; "
        f"journal = Journal('sqlite:///{file}'); journal.find('x'); "
        "print('open', flush=True); sys.stdin.read()"
    )
    user = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with user:
        assert user.stdout is not None
        assert user.stdout.readline()
        with pytest.raises(SetupError, match=f"in use by process {user.pid}"):
            compacted(file)
        user.communicate()
    assert compacted(file).packed > 0
    assert all_of(file, answers) == answers


def test_a_run_that_comes_meanwhile_waits(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    answers = a_full_journal(file)
    runs: list[subprocess.Popen[bytes]] = []
    program = (
        "from aidsafe_dagster.engines.journal import Journal; "
        f"assert Journal('sqlite:///{file}').find('key 7')"
    )

    def begin_run(done: int, total: int) -> None:
        if not runs:
            runs.append(subprocess.Popen([sys.executable, "-c", program], cwd=ROOT))
        assert done <= total

    compact(f"sqlite:///{file}", begin_run)
    (run,) = runs
    assert run.wait() == 0
    assert all_of(file, answers) == answers


def test_the_answer_of_a_failed_row_is_shown_from_a_compacted_journal(
    tmp_path: Path,
) -> None:
    file = tmp_path / "journal.sqlite"
    answers = a_full_journal(file)
    compacted(file)
    (answer,) = read_answers(f"sqlite:///{file}", "p key 7", "seed_cots", 0, 0)
    assert answer.text == answers["key 7"].text


def test_a_compacted_journal_that_is_removed_under_a_run_is_written_anew(
    tmp_path: Path,
) -> None:
    file = tmp_path / "journal.sqlite"
    answers = a_full_journal(file, 50)
    compacted(file)
    with opened(file) as journal:
        for path in tmp_path.iterdir():
            path.unlink()
        answers["new"] = an_answer(1)
        journal.record(Entry("new", a_request(), answers["new"], 0.1))
    assert all_of(file, answers) == answers


def test_a_journal_of_the_first_release_is_compacted_like_any_other(
    tmp_path: Path,
) -> None:
    file = tmp_path / "journal.sqlite"
    answers = a_full_journal(file, 0)
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE completions DROP COLUMN reasoning")
    compacted(file)
    assert all_of(file, answers) == answers


def test_a_packed_answer_that_is_damaged_is_no_answer(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    a_full_journal(file, 20)
    compacted(file)
    with closing(sqlite3.connect(file)) as database:
        database.execute(
            "UPDATE completions SET text = substr(text, 1, length(text) - 2)"
        )
        database.commit()
    with opened(file) as journal, pytest.raises(SetupError, match="damaged"):
        journal.find("key 7")


def test_a_journal_that_is_not_there_or_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="none yet"):
        compacted(tmp_path / "journal.sqlite")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SetupError, match="compresses long answers"):
        compact("postgresql+psycopg://me:secret@db/x", print)
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"this is no database at all, by any means" * 100)
    with pytest.raises(SetupError, match="not a database"):
        compacted(other)
