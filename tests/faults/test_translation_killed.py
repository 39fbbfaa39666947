"""kill -9 in the middle of `aidsafe translate`; the same command then goes on."""

import signal
from pathlib import Path

import pytest

from aidsafe_dagster.cli.local_runs import run_job
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.translation import TranslatedRow
from tests.faults.forks import forked, printed_by
from tests.faults.test_killed import count_journaled
from tests.site import NO_FAULTS, a_copy_of, a_site, prompts_file, some_prompts

BATCH = "mine-0001"
COMMAND = ("translate", "--to", "de", "--to", "zh")
CONFIG = {"ops": {"translations": {"config": {"languages": ["de", "zh"]}}}}
DEADLY = (
    ("aidsafe_dagster.engines.journal:Journal.record", 2),
    ("aidsafe_dagster.engines.journal:Journal.record", 8),
    ("aidsafe_dagster.lake.lake:Lake.store", 1),
    ("aidsafe_dagster.lake.lake:Lake.store", 2),
    ("aidsafe_dagster.stages.decontamination:Decontamination.record", 2),
)
"""Functions, and the number of the call at which the process is killed."""


def translations_in(lake: Lake) -> list[TranslatedRow]:
    return [
        row
        for language in ("de", "zh")
        for row in lake.records(f"translations_{language}", BATCH, TranslatedRow)
    ]


@pytest.mark.slow
def test_after_kills_translations_are_whole_and_nothing_recorded_is_asked_again(
    tmp_path: Path,
) -> None:
    original, undisturbed = tmp_path / "original", tmp_path / "undisturbed"
    # One call at a time, so that the journal is written call by call.
    driver = {"calls_in_flight": 1}
    with a_site(original, rehearsal=NO_FAULTS, driver=driver) as site:
        assert site.ingest(prompts_file(original, some_prompts(6))).success
        assert site.make(BATCH).error == ""
    made = count_journaled(original)
    with a_copy_of(original, undisturbed) as site:
        assert run_job(site.instance, "translate", config=CONFIG).error == ""
        expected = translations_in(site.lake)
    needed = count_journaled(undisturbed) - made
    folder = tmp_path / "site"
    with a_copy_of(original, folder) as site:
        for place in DEADLY:
            with forked(folder, *COMMAND, dies_at=place) as process:
                process.join(120)
                assert process.exitcode == -signal.SIGKILL, printed_by(folder, process)
        recorded = count_journaled(folder) - made
        assert recorded > 0
        last = run_job(site.instance, "translate", config=CONFIG)
        assert last.error == ""
        assert translations_in(site.lake) == expected
    assert last.spending.replayed == recorded
    assert last.spending.usage.calls == needed - recorded
    assert count_journaled(folder) - made == needed
