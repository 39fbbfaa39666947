"""Two thousand rows under a limit of memory: they fit the stated bound, or a kill costs nothing."""

import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.recipe.stages import always_made
from tests.faults.commands import AIDSAFE, BATCH, printed, started
from tests.faults.memory import MemoryLimit, a_memory_limit, can_limit
from tests.faults.test_killed import count_journaled
from tests.site import Site, a_site, prompts_file, some_prompts

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(not can_limit(), reason="needs root and a control group"),
]
ROWS = 2_000
TIGHT = 600 * 2**20
"""Little more than a process has once everything is imported."""
BOUND = 1_536 * 2**20
"""Stated in docs/decisions.md."""


def test_a_batch_of_2000_rows_fits_the_bound_and_a_kill_before_costs_no_recorded_call(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path, ingest={"batch_size": ROWS}) as site:
        assert site.ingest(prompts_file(tmp_path, some_prompts(ROWS))).success
        with a_memory_limit(TIGHT) as limit:
            # Killed, or just not: then the next command has nothing to do.
            assert backfill(tmp_path, limit) in (0, -signal.SIGKILL)
        before = count_journaled(tmp_path)
        killed = printed(tmp_path)
        with a_memory_limit(BOUND) as limit:
            assert backfill(tmp_path, limit) == 0, printed(tmp_path)
        made = re.search(
            r"This took ([\d,]+) calls", printed(tmp_path).removeprefix(killed)
        )
        calls = int(made[1].replace(",", "")) if made else 0
        assert before + calls == count_journaled(tmp_path) > ROWS
        assert_every_prompt_is_accounted_for(site)


def backfill(folder: Path, limit: MemoryLimit) -> int:
    """Run the command within a limit, and return its exit code."""
    with started(folder, *AIDSAFE, "backfill") as process:
        limit.apply_to(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1_200)
    assert process.returncode is not None
    return process.returncode


def assert_every_prompt_is_accounted_for(site: Site) -> None:
    """Check that each prompt has a row in each stage, or has failed there or before."""
    prompt_ids = set(site.lake.rows("ingested", BATCH)["prompt_id"])
    assert len(prompt_ids) == ROWS
    for stage in always_made():
        if stage is Stage.FINE_TUNE_SPLITS:
            continue
        rows = site.lake.rows(stage, BATCH)["prompt_id"].to_list()
        failed = site.lake.failures(stage, BATCH)["prompt_id"].to_list()
        assert len(rows) == len(set(rows)), stage
        assert not set(rows) & set(failed), stage
        assert set(rows) | set(failed) <= prompt_ids, stage
        assert len(rows) > ROWS / 2, stage
