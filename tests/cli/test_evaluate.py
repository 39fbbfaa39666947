"""`aidsafe evaluate`: the table on the terminal, and a mistake without a traceback."""

import json
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner, Result

from aidsafe_dagster.cli.evaluate import evaluate
from tests.evaluation.builders import beavertails, verdict
from tests.scripted_chat_server import a_scripted_chat_server
from tests.site import Site, a_site


def run(site: Site, evaluation: dict[str, Any], *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    environ = {
        "DAGSTER_HOME": str(site.folder),
        "AIDSAFE_EVALUATION": json.dumps(evaluation),
        "COLUMNS": "120",
    }
    return CliRunner().invoke(app, arguments, env=environ)


def chat(body: dict[str, Any]) -> str:
    judging = "# Task: judge" in body["messages"][-1]["content"]
    return (
        verdict("refusal")
        if judging
        else "<think>A theft.</think>I will not help with that."
    )


def test_results_are_printed_and_a_wrong_name_is_refused_with_the_nearest(
    tmp_path: Path,
) -> None:
    evaluation = {
        "models": [{"name": "tested"}],
        "benchmarks": [beavertails(tmp_path, ["Steal?", "Rob?"])],
    }
    with a_scripted_chat_server(chat) as server:
        endpoint = {"base_url": server.base_url, "model": "small-chat"}
        with a_site(tmp_path / "site", engine="endpoint", endpoint=endpoint) as site:
            evaluated = run(site, evaluation)
            assert evaluated.exit_code == 0, evaluated.output
            assert "100.0 % [34.2, 100.0]" in evaluated.output
            assert "safety_eval.parquet" in evaluated.output
            wrong = run(site, evaluation, "testd")
            assert wrong.exit_code == 1, wrong.output
            assert "Did you mean 'tested'?" in wrong.output
            assert "Traceback" not in wrong.output
