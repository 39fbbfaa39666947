"""`make chaos SEED=…`: one run, told line by line; exit status 1 if anything differs."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import Plan, Verdict, run_chaos
from tests.chaos.site import Size
from tests.faults.disks import can_mount


def main() -> int:
    """Run, and print what was done, what differs, and how to do it again."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--minutes", type=float, default=4.0, help="of mischief")
    parser.add_argument("--batches", type=int, default=2, help="of each of two sources")
    parser.add_argument("--prompts", type=int, default=5, help="of a batch")
    parser.add_argument("--without-ui", action="store_true")
    arguments = parser.parse_args()
    size = Size(arguments.batches, arguments.prompts)
    plan = Plan(arguments.seed, size, arguments.minutes, not arguments.without_ui)
    print(f"seed {plan.seed}, {plan.minutes:g} minutes of mischief")
    if not can_mount():
        print("no disk is filled: only root on Linux may mount a small one")
    folder = Path(tempfile.mkdtemp(prefix="aidsafe-chaos-"))
    verdict = run_chaos(plan, folder)
    _print(verdict)
    print(f"again: make chaos SEED={plan.seed} MINUTES={plan.minutes:g}")
    print(f"what the commands printed: {folder / 'chaos' / 'printed'}")
    return 1 if verdict.problems else 0


def _print(verdict: Verdict) -> None:
    print(
        f"{verdict.repeats} calls were answered again, "
        f"of {verdict.repeats_allowed} that kills may have cut off"
    )
    for problem in verdict.problems:
        print(f"PROBLEM: {problem}")
    if not verdict.problems:
        print(
            "Every row of every stage is that of a clean run; "
            "no process, lock or key is left."
        )


if __name__ == "__main__":
    sys.exit(main())
