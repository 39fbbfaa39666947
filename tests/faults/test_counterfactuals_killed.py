"""kill -9 while policy counterfactuals are made; the same command then goes on."""

import json
import signal
from pathlib import Path

import pytest

from aidsafe_dagster.recipe.records import PolicyCounterfactual, Stage
from tests.faults.forks import forked, printed_by
from tests.faults.test_killed import count_journaled
from tests.site import NO_FAULTS, Site, a_copy_of, a_site, prompts_file

BATCH = "mine-0001"
TABLE = Stage.POLICY_COUNTERFACTUALS
PROMPTS = [f"How is the lock of door {n} opened, kindly?" for n in range(6)]
DEADLY = (
    ("aidsafe_dagster.engines.journal:Journal.record", 1),
    ("aidsafe_dagster.engines.journal:Journal.record", 7),
    ("aidsafe_dagster.recipe.policy_counterfactuals:_record", 2),
    ("aidsafe_dagster.lake.lake:Lake.store", 1),
    ("aidsafe_dagster.stages.checks:validate", 1),
)
"""Functions, and the number of the call at which the process is killed."""


def write_policies(folder: Path, rule: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "locks.toml").write_text(
        'id = "locks"\ntitle = "On locks"\napplies = "always"\n'
        f'purpose = "What is said of locks."\n[rules]\n1 = "{rule}"\n'
    )


def kept(site: Site) -> list[PolicyCounterfactual]:
    return site.lake.records(TABLE, BATCH, PolicyCounterfactual)


@pytest.mark.slow
def test_after_kills_pairs_are_whole_and_nothing_recorded_is_asked_again(
    tmp_path: Path,
) -> None:
    original, undisturbed = tmp_path / "original", tmp_path / "undisturbed"
    settings = {
        "policies": "ours",
        "rehearsal": NO_FAULTS | {"contrary": 1.0},
        # One call at a time, so that the journal is written call by call.
        "driver": {"calls_in_flight": 1},
        "splits": {"validation": 0.0, "test": 0.0},
    }
    original.mkdir()
    write_policies(original / "ours", "Nobody is told how a lock is opened.")
    write_policies(original / "theirs", "Everybody is told how a lock is opened.")
    with a_site(original, **settings) as site:
        assert site.ingest(prompts_file(original, PROMPTS)).success
        assert site.make(BATCH).error == ""
    made = count_journaled(original)
    with (original / "aidsafe.toml").open("a") as file:
        file.write(f"[counterfactuals]\npolicies = {json.dumps('theirs')}\n")

    with a_copy_of(original, undisturbed) as site:
        assert site.make(BATCH).error == ""
        expected = kept(site)
    assert expected
    needed = count_journaled(undisturbed) - made

    folder = tmp_path / "site"
    with a_copy_of(original, folder) as site:
        for place in DEADLY:
            with forked(folder, "backfill", dies_at=place) as process:
                process.join(120)
                assert process.exitcode == -signal.SIGKILL, printed_by(folder, process)
        recorded = count_journaled(folder) - made
        assert recorded > 0
        with forked(folder, "backfill") as last:
            last.join(120)
            assert last.exitcode == 0, printed_by(folder, last)
        assert kept(site) == expected
    assert count_journaled(folder) - made == needed
