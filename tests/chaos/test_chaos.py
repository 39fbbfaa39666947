"""A short chaos run with a fixed seed; `make chaos` does long ones."""

from pathlib import Path

import pytest

from tests.chaos.run import Plan, run_chaos
from tests.chaos.site import Size


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_after_a_random_mix_of_faults_every_row_is_that_of_a_clean_run(
    tmp_path: Path,
) -> None:
    plan = Plan(seed=7, size=Size(batches=1, prompts=4), minutes=0.75, has_ui=False)
    verdict = run_chaos(plan, tmp_path)
    assert verdict.problems == ()
