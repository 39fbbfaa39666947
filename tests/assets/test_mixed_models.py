"""A mixed pair over real HTTP: each agent asks its own model, and what they say is compared."""

import json
import re
from pathlib import Path
from typing import Any

from aidsafe_dagster.ablations.archive import ExperimentArchive
from aidsafe_dagster.recipe.ablations import AblationRow
from tests.scripted_chat_server import ScriptedChatServer, a_scripted_chat_server
from tests.site import Site, a_site, aidsafe, prompts_file, some_prompts
from tests.test_known_quality import CITED, _answer

PROMPTS = 4
_WORDS = {
    "base": "the words of every rule that bears on what is wanted are weighed in full",
    "small": "whoever reads along finds each step before the next one begins and follows",
    "large": "nobody comes to harm through plain advice that any book would give as well",
}
"""What a model's thoughts consist of: two models have no word in common."""


def _answer_by_model(body: dict[str, Any]) -> str:
    """Answer as a server of known quality does; deliberators in the words of their model."""
    message = body["messages"][-1]["content"]
    task = re.findall(r"# Task: (\w+)", message)[-1]
    if task != "deliberator":
        return _answer(body)
    answer = json.loads(_answer(body))
    thought = {"thought": _WORDS[body["model"]], "rules": CITED}
    return json.dumps(answer | {"thoughts": [thought]})


def settings_of(server: ScriptedChatServer) -> dict[str, Any]:
    prices = {"input": 1.0, "output": 2.0, "currency": "USD"}
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": server.base_url, "model": "base", "slots": 4},
        "endpoint.prices": prices,
        "servers.other": {"base_url": server.base_url, "slots": 4},
        "servers.other.prices": prices,
        # One round, so that no agent says its own words again.
        "deliberation": {"max_rounds": 1},
        "checks": {"min_refined_share": 0.0, "max_refined_ratio": 9.0},
    }


def ablate(site: Site, *arguments: str) -> str:
    done = aidsafe(site.folder, "ablate", *arguments, "--yes", COLUMNS="80")
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def rows_of(site: Site) -> dict[str, list[AblationRow]]:
    (result,) = ExperimentArchive(site.settings.home).results()
    by_variant: dict[str, list[AblationRow]] = {}
    for row in result.rows:
        assert isinstance(row, AblationRow)
        by_variant.setdefault(row.variant, []).append(row)
    return by_variant


def test_each_agent_of_a_pair_asks_its_own_model(tmp_path: Path) -> None:
    with (
        a_scripted_chat_server(_answer_by_model) as server,
        a_site(tmp_path, **settings_of(server)) as site,
    ):
        assert site.ingest(prompts_file(site.folder, some_prompts(PROMPTS))).success
        printed = ablate(site, "models", "small", "large@other")
        rows = rows_of(site)
        requests = list(server.requests)
        assert "USD" in printed
        # What is recorded is not asked again, by whichever variant.
        ablate(site, "models", "small", "large@other")
        assert len(server.requests) == len(requests)
    assert list(rows) == [
        "as configured",
        "small",
        "large@other",
        "small + large@other",
    ]
    assert {row.models for row in rows["small"]} == {"base, small"}
    assert {row.models for row in rows["small + large@other"]} == {"base, small, large"}
    asked = {json.dumps(body, sort_keys=True) for body in requests}
    assert len(asked) == len(requests)
    for name in ("as configured", "small", "large@other"):
        assert {row.diversity for row in rows[name]} == {0.0}
    for row in rows["small + large@other"]:
        assert row.diversity is not None
        assert row.diversity > 0.9


def test_a_model_that_cannot_be_read_loses_its_prompts_and_not_the_experiment(
    tmp_path: Path,
) -> None:
    def answer(body: dict[str, Any]) -> str:
        if body["model"] == "small":
            return "I would rather not say."
        return _answer_by_model(body)

    with (
        a_scripted_chat_server(answer) as server,
        a_site(tmp_path, **settings_of(server)) as site,
    ):
        assert site.ingest(prompts_file(site.folder, some_prompts(PROMPTS))).success
        printed = ablate(site, "models", "small")
        (result,) = ExperimentArchive(site.settings.home).results()
    assert {failure.variant for failure in result.failures} == {"small"}
    assert {failure.stage for failure in result.failures} == {"deliberated_cots"}
    assert f"0/{PROMPTS} 1.00 [1.00, 1.00]" in printed
