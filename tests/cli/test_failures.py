"""Failed rows can be read: `aidsafe failures`, and what `aidsafe show` prints of one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.journal import Entry, Journal
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.recipe.dialogue import Completion, Request, Sampling
from aidsafe_dagster.recipe.records import (
    Failure,
    FailureReason,
    Role,
    Stage,
    Usage,
)
from aidsafe_dagster.stages.failed_answers import visible
from tests.site import (
    NO_FAULTS,
    Site,
    a_copy_of,
    a_site,
    aidsafe,
    prompts_file,
    some_prompts,
)

BATCH = "mine-0001"
NASTY = "\x1b[31m[red]# Owned[/red]\r\u202e![x](http://h/i.png)\nnext line"


@pytest.fixture(scope="module")
def failed_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed site whose rows all failed at the seeds."""
    folder = tmp_path_factory.mktemp("failed") / "site"
    with a_site(folder, rehearsal=NO_FAULTS | {"unparsable": 1.0}) as site:
        assert site.ingest(prompts_file(folder, some_prompts(3))).success
        assert not site.make(BATCH).success
    return folder


@pytest.fixture
def failed(failed_site: Path, tmp_path: Path) -> Iterator[Site]:
    with a_copy_of(failed_site, tmp_path / "site") as site:
        yield site


def failures_of(site: Site) -> list[Failure]:
    return from_frame(site.lake.failures(Stage.SEED_COTS, BATCH), Failure)


def replace_first(site: Site, **changes: Any) -> Failure:
    first, *others = failures_of(site)
    changed = first.model_copy(update=changes)
    frame = to_frame([changed, *others], Failure)
    rows = site.lake.rows(Stage.SEED_COTS, BATCH)
    site.lake.write(Stage.SEED_COTS, BATCH, rows, frame)
    return changed


def record(site: Site, failure: Failure, text: str, draw: int = 0) -> None:
    """Put an answer to the last call of a failed row into the journal."""
    request = Request(
        prompt_id=failure.prompt_id,
        stage=failure.stage,
        role=Role(failure.role),
        turn=failure.turn - 1,
        messages=(),
        schema={},
        sampling=Sampling(),
        seed=0,
        draw=draw,
    )
    completion = Completion(text=text, model="m[bold]", usage=Usage(calls=1))
    journal = Journal(site.settings.journal)
    journal.record(Entry(f"key {draw}", request, completion, 0.1))
    journal.close()


def journal_text(site: Site, failure: Failure) -> str:
    """Return the answer to the last call of a failed row, from the journal's own table."""
    query = (
        "SELECT text FROM completions "
        "WHERE prompt_id = ? AND stage = ? AND turn = ? AND draw = 0"
    )
    values = (failure.prompt_id, failure.stage, failure.turn - 1)
    with closing(sqlite3.connect(site.folder / "data" / "journal.sqlite")) as database:
        ((text,),) = database.execute(query, values)
    return str(text)


def squeezed(text: str) -> str:
    """Return text without white space and frames, which depend on the width."""
    return "".join(text.replace("│", "").split())


def show(site: Site, prompt_id: str, **variables: str) -> str:
    result = aidsafe(site.folder, "show", prompt_id, **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_failed_row_is_shown_with_the_answer_that_failed_it(failed: Site) -> None:
    failure = failures_of(failed)[0]
    page = show(failed, failure.prompt_id)
    prompts = failed.lake.rows("prompts", BATCH).filter(prompt_id=failure.prompt_id)
    assert squeezed(prompts["prompt"].item()) in squeezed(page)
    assert f"Failed at seed_cots: {failure.reason}" in page
    assert f"call {failure.turn} of the stage" in page
    assert f"Call {failure.turn} of the stage, to {failure.role}" in page
    answer = journal_text(failed, failure)
    assert squeezed(visible(answer)) in squeezed(page)


def test_of_a_row_that_failed_again_the_answer_drawn_anew_is_shown(
    failed: Site,
) -> None:
    failure = replace_first(failed, redraws=(0, 1))
    record(failed, failure, "the later answer", draw=1)
    page = show(failed, failure.prompt_id)
    assert ", draw 2:" in page
    assert "the later answer" in page
    assert squeezed(journal_text(failed, failure)) not in squeezed(page)
    # A call that lies before the one that was drawn anew kept its answer.
    replace_first(failed, redraws=(failure.turn, 1))
    assert "the later answer" not in show(failed, failure.prompt_id)


def test_an_answer_reaches_the_terminal_as_text_alone(failed: Site) -> None:
    failure = replace_first(failed, turn=99)
    record(failed, failure, NASTY)
    page = show(failed, failure.prompt_id)
    assert "to intent_decomposer (m[bold])" in page
    assert r"\x1b[31m[red]# Owned[/red]\x0d\u202e![x](http://h/i.png)" in page
    assert "next line" in page
    assert not {"\x1b", "\r", "\u202e"}.intersection(page)


def test_a_secret_in_an_answer_is_masked(failed: Site) -> None:
    failure = failures_of(failed)[0]
    secret = journal_text(failed, failure)[:12]
    page = show(failed, failure.prompt_id, HF_TOKEN=secret)
    assert squeezed(secret) not in squeezed(page)
    assert "***" in page


def test_a_call_without_an_answer_is_said_to_have_none(failed: Site) -> None:
    failure = replace_first(failed, reason=FailureReason.ENGINE_ERROR, redraws=())
    assert "The call brought no answer." in show(failed, failure.prompt_id)


def test_of_a_row_that_was_left_out_the_last_answer_is_shown_if_any(
    failed: Site,
) -> None:
    failure = replace_first(failed, reason=FailureReason.NO_CONTRAST)
    assert "The last answer" in show(failed, failure.prompt_id)
    replace_first(failed, reason=FailureReason.CONTAMINATED, turn=0)
    page = show(failed, failure.prompt_id)
    assert "Failed at seed_cots: contaminated" in page
    assert "The last answer" not in page


def test_without_a_journal_the_rest_is_shown_and_none_is_made(failed: Site) -> None:
    journal = failed.folder / "data" / "journal.sqlite"
    journal.unlink()
    page = show(failed, failures_of(failed)[0].prompt_id)
    assert "Failed at seed_cots" in page
    assert "The journal has no answer to this call." in page
    assert not journal.exists()


def test_a_damaged_journal_hides_nothing_else(failed: Site) -> None:
    journal = failed.folder / "data" / "journal.sqlite"
    for file in journal.parent.glob("journal.sqlite-*"):
        file.unlink()
    journal.write_bytes(b"no database" * 100)
    page = show(failed, failures_of(failed)[0].prompt_id)
    assert "Failed at seed_cots" in page
    assert "cannot be read" in page


def test_the_failures_are_listed_within_eighty_columns(failed: Site) -> None:
    long = "\x1b[1m[bold]" + "x" * 500
    replace_first(failed, detail=long)
    result = aidsafe(failed.folder, "failures", COLUMNS="80")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for failure in failures_of(failed):
        line = f"{failure.prompt_id} seed_cots {failure.reason} {BATCH}"
        assert line in lines
    assert "[bold]xxx" in result.stdout
    assert "\x1b" not in result.stdout
    # The baseline failed on every prompt too.
    assert "6 rows:" in lines
    assert "       3  seed_cots unparsable" in lines
    assert "`aidsafe show PROMPT_ID`" in result.stdout


def test_what_went_wrong_comes_before_what_nobody_was_asked_about(failed: Site) -> None:
    first = replace_first(failed, reason=FailureReason.NOT_DRAWN)
    listed = aidsafe(failed.folder, "failures", "--stage", "seed_cots").stdout
    others = [one.prompt_id for one in failures_of(failed)][1:]
    assert all(listed.index(other) < listed.index(first.prompt_id) for other in others)


def test_the_list_can_be_narrowed(failed: Site) -> None:
    changed = replace_first(failed, reason=FailureReason.ENGINE_ERROR)
    chosen = aidsafe(failed.folder, "failures", "--reason", "engine_error").stdout
    assert "1 row:" in chosen
    assert changed.prompt_id in chosen
    of_the_stage = ("failures", "--stage", "seed_cots", "--batch", BATCH)
    assert "3 rows:" in aidsafe(failed.folder, *of_the_stage).stdout
    both = (*of_the_stage, "--reason", "unparsable")
    assert "2 rows:" in aidsafe(failed.folder, *both).stdout
    none = aidsafe(failed.folder, "failures", "--stage", "refined_cots")
    assert none.returncode == 0
    assert "No row failed" in none.stdout
    few = aidsafe(failed.folder, *of_the_stage, "--limit", "1").stdout
    assert "3 rows:" in few
    assert "1 of them listed above; --limit 0 lists all." in few


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stage", "seed_cot"), "Did you mean 'seed_cots'?"),
        (("--reason", "unparseable"), "Did you mean 'unparsable'?"),
        (("--batch", "mine-001"), "Did you mean 'mine-0001'?"),
    ],
)
def test_an_unknown_choice_names_the_nearest(
    failed: Site, options: tuple[str, ...], message: str
) -> None:
    result = aidsafe(failed.folder, "failures", *options)
    assert result.returncode == 2
    assert message in result.stdout


def test_line_breaks_stay_and_what_is_invisible_shows() -> None:
    assert (
        visible("a\nb\tc\u200b\U000e0001é字") == r"a" "\n" r"b\x09c\u200b\U000e0001é字"
    )


def test_a_failed_row_is_listed_with_the_id_of_its_own(tmp_path: Path) -> None:
    with a_site(tmp_path, rehearsal=NO_FAULTS | {"unparsable": 1.0}) as site:
        (tmp_path / "a.csv").write_text("n,prompt\nT-1,Why is jazz so free?\n")
        source = {"name": "a", "path": str(tmp_path / "a.csv"), "licence": "MIT"}
        assert site.ingest(source | {"columns": {"id": "n"}}).success
        assert not site.make("a-0001").success
        assert "\n    own id T-1\n" in aidsafe(tmp_path, "failures").stdout
