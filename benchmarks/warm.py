"""Runs of one process, one after another, each with the CPU that the system charges for it.

It prints a line of JSON per run: the job, the batch and the CPU seconds.

python -m benchmarks.warm BATCH...    in the project's folder; each batch twice, then the reports
"""

import json
import sys
from collections.abc import Sequence

import dagster as dg

from aidsafe_dagster.cli.local_runs import open_instance, run_job
from aidsafe_dagster.primitives.collection import collect_rarely
from benchmarks.process import cpu_seconds


def main(batches: Sequence[str]) -> None:
    # As the command line does.
    collect_rarely()
    with open_instance() as instance:
        for batch in batches:
            for _ in range(2):
                _measure(instance, "make_batch", batch)
        for _ in range(2):
            _measure(instance, "build_reports", None)


def _measure(instance: dg.DagsterInstance, job: str, batch: str | None) -> None:
    before = cpu_seconds()
    run = run_job(instance, job, partition=batch)
    if not run.success:
        raise RuntimeError(run.error)
    spent = cpu_seconds() - before
    line = {"job": job, "batch": batch, "cpu_s": spent}
    sys.stdout.write(f"{json.dumps(line)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
