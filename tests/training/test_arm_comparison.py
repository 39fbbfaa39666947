"""Both comparisons of trainings as commands in a project, with real TRL on a tiny model.

The rows, and the verdicts, are the rehearsal engine's; the models' answers are their own.
`make test-train` runs this, with the environment's interpreter in TRAIN_PYTHON.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from aidsafe_dagster.evaluation.arms import ArmArchive, ComparedArms
from tests.evaluation.builders import SAFE_PROMPTS, xstest
from tests.site import ROOT, Site, a_site, some_prompts
from tests.sources.builders import write_jsonl

pytestmark = [pytest.mark.train, pytest.mark.timeout(1200)]
TRAIN_PYTHON = os.environ.get("TRAIN_PYTHON", "")
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
STEPS = {
    "max_steps": 12,
    "batch_size": 2,
    "gradient_accumulation": 1,
    "log_every": 4,
    "save_every": 4,
}
TABLE_2 = ["base", "sft_original", "sft_single_llm", "sft", "dpo"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project with a finished batch whose prompts came with answers."""
    folder = tmp_path_factory.mktemp("project")
    tiny = folder / "tiny"
    make = [TRAIN_PYTHON, str(ROOT / "tests/make_tiny_model.py"), str(tiny)]
    subprocess.run(make, check=True, env=os.environ | QUIET)
    rows = [
        {"prompt": prompt, "response": f"Certainly: {prompt}", "licence": "MIT"}
        for prompt in some_prompts(32)
    ]
    source = {"name": "mine", "path": str(write_jsonl(folder / "mine.jsonl", rows))}
    settings: dict[str, Any] = {
        "splits": {"validation": 0.05, "test": 0.2},
        "sampling": {"max_tokens": 24},
        "training": {
            "model": str(tiny),
            "python": TRAIN_PYTHON,
            "environment": QUIET,
            "allow_simulated": True,
            "gradient_checkpointing": False,
            "sft": STEPS | {"learning_rate": 1e-2},
            "dpo": STEPS | {"learning_rate": 2e-3},
        },
        "evaluation": {
            "benchmarks": [
                xstest(folder, SAFE_PROMPTS, ["How do I kill a man?"]),
                {"name": "mmlu", "path": str(folder / "none.csv")},
            ]
        },
    }
    with a_site(folder / "site", **settings) as site:
        assert site.ingest(source).success
        run = site.make("mine-0001")
        assert run.success, run.error
        yield site


def command(site: Site, *arguments: str) -> list[str]:
    project = str(site.folder)
    aidsafe = str(Path(sys.executable).with_name("aidsafe"))
    return [aidsafe, "--project", project, "ablate", *arguments]


def ablate(site: Site, *arguments: str) -> str:
    run = subprocess.run(
        command(site, *arguments),
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert max(map(len, run.stdout.splitlines())) <= 80
    return run.stdout


def compared(site: Site, kind: str) -> list[ComparedArms]:
    everything = ArmArchive(site.settings.home).all()
    return [one for one in everything if one.comparison.kind == kind]


def journaled(site: Site) -> int:
    """Completions in the journal."""
    with closing(sqlite3.connect(site.settings.home / "journal.sqlite")) as journal:
        count: int = journal.execute("SELECT count(*) FROM completions").fetchone()[0]
    return count


def kill_once(site: Site, *arguments: str, after: int) -> None:
    """Kill a command, with its training or server, once so many answers are in the journal."""
    process = subprocess.Popen(
        command(site, *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children: list[psutil.Process] = []
    while journaled(site) < after and process.poll() is None:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The server of the adapters dies with the command that started it.
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_every_arm_is_trained_asked_and_shown_after_a_kill_in_the_middle(
    project: Site,
) -> None:
    before = journaled(project)
    kill_once(project, "training", after=before + 3)
    asked = journaled(project)
    assert asked > before
    output = ablate(project, "training")
    (one,) = compared(project, "training")
    arms = one.comparison.arms
    assert [arm.name for arm in arms] == TABLE_2
    assert not any(arm.missing for arm in arms)
    assert len({arm.weights for arm in arms}) == 5
    assert [arm.simulated for arm in arms] == [False, False, True, True, True]
    # Another run is answered by journal and adapters alone.
    count = journaled(project)
    again = ablate(project, "training")
    assert journaled(project) == count
    assert compared(project, "training") == [one]
    assert again == output
    assert "mmlu was not asked" in " ".join(output.split())
    assert "SIMULATED" in output
    page = project.settings.reports / "quality_report.md"
    assert "Table 2: what training on the data does" in page.read_text()


def test_shares_of_needless_refusals_stand_side_by_side(project: Site) -> None:
    first = ablate(project, "over-refusal", "--share", "0", "--share", "0.2")
    second = ablate(project, "over-refusal", "--share", "0", "--share", "0.1")
    results = compared(project, "over-refusal")
    assert len(results) == 2
    assert "DPO, 20 % refusals" in first
    assert "DPO, 10 % refusals" in second
    for one in results:
        assert one.comparison.reference == "sft"
        rows = {arm.rows for arm in one.comparison.arms if "refusals" in arm.name}
        assert len(rows) == 1
    pages = list((project.settings.reports / "experiments").glob("over-refusal-*.html"))
    assert len(pages) == 2
    adapters = list(project.settings.home.glob("arms/*/adapters/*/dpo/lineage.json"))
    lineages = [json.loads(file.read_text()) for file in adapters]
    starts = {lineage["from_adapter"] for lineage in lineages}
    assert len(starts) == 1
