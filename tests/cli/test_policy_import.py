"""`aidsafe policy import`: from a document to a draft that a person edits."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.policies import load_policies
from tests.scripted_chat_server import ScriptedChatServer, a_scripted_chat_server
from tests.site import NO_FAULTS, aidsafe, environment, prepare
from tests.sources.test_documents import a_pdf

HANDBOOK = """# Support handbook

Agents must never give out another customer's name.

## Cards

- Do not repeat "full" card numbers.
- Passwords shall not be asked for.

The team was founded in 2011.
"""


def a_project(folder: Path, **settings: Any) -> Path:
    """Prepare a project with a folder of policies; return its handbook."""
    prepare(folder, **{"policies": "policies", "rehearsal": NO_FAULTS, **settings})
    (folder / "policies").mkdir()
    handbook = folder / "handbook.md"
    handbook.write_text(HANDBOOK)
    return handbook


def on(server: ScriptedChatServer) -> dict[str, Any]:
    return {
        "engine": "endpoint",
        "endpoint": {"base_url": server.base_url, "model": "known", "slots": 1},
    }


def quoting(body: dict[str, Any]) -> str:
    """Answer with a rule for each line of the document that is no heading."""
    # The document stands before a question that is put again.
    message = "\n".join(one["content"] for one in body["messages"])
    if "# Task: head" in message:
        return json.dumps({"heading": "Support", "purpose": "Customers are safe."})
    document = re.findall(r"<document>\n(.*?)\n</document>", message, re.DOTALL)[-1]
    rules = []
    for line in document.splitlines():
        if line.endswith("."):
            rule = f"Keep to what the handbook says of this: {line.strip('- ')}"
            rules.append({"passage": line.strip("- "), "rule": rule})
    return json.dumps({"rules": rules[:24]})


def drafted(folder: Path, name: str = "handbook") -> dict[str, Any]:
    return tomllib.loads((folder / "policies/drafts" / f"{name}.toml").read_text())


def test_rules_are_drafted_each_below_its_passage(tmp_path: Path) -> None:
    handbook = a_project(tmp_path)
    outcome = aidsafe(tmp_path, "policy", "import", str(handbook), COLUMNS="80")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert max(map(len, outcome.stdout.splitlines())) <= 80
    assert "REHEARSAL" in outcome.stdout
    policy = drafted(tmp_path)
    assert policy["title"] == "Support handbook"
    assert list(policy["rules"].values()) == [
        "Agents must never give out another customer's name.",
        'Do not repeat "full" card numbers.',
        "Passwords shall not be asked for.",
    ]
    text = (tmp_path / "policies/drafts/handbook.toml").read_text()
    place = text.index("# line 7: “Do not repeat")
    assert place < text.index("2 = ")
    assert "a rehearsal by rule and no model" in text


def test_a_draft_is_no_policy_before_a_person_moves_it(tmp_path: Path) -> None:
    handbook = a_project(tmp_path)
    aidsafe(tmp_path, "policy", "import", str(handbook))
    draft = tmp_path / "policies/drafts/handbook.toml"
    assert not list((tmp_path / "policies").glob("*.toml"))
    draft.rename(tmp_path / "policies/handbook.toml")
    assert load_policies(tmp_path / "policies").ids == ("handbook",)


def test_no_file_is_overwritten_and_nothing_is_asked_before_that_is_known(
    tmp_path: Path,
) -> None:
    with a_scripted_chat_server(quoting) as server:
        handbook = a_project(tmp_path, **on(server))
        out = tmp_path / "mine.toml"
        out.write_text("mine")
        outcome = aidsafe(
            tmp_path, "policy", "import", str(handbook), "--out", str(out)
        )
    assert outcome.returncode == 2
    assert "nothing is overwritten" in outcome.stdout
    assert out.read_text() == "mine"
    assert server.requests == []


def test_a_pdf_is_drafted_with_its_pages(tmp_path: Path) -> None:
    a_project(tmp_path)
    page = ["Agents must never give out a name.", "Passwords shall not be asked for."]
    pdf = a_pdf(tmp_path / "Our Handbook 2026.pdf", ["Welcome to the team."], page)
    outcome = aidsafe(tmp_path, "policy", "import", str(pdf), "--json")
    values = json.loads(outcome.stdout)
    assert {rule["place"] for rule in values["rules"]} == {"page 2"}
    assert drafted(tmp_path, "our_handbook_2026")["id"] == "our_handbook_2026"


def test_what_the_model_invents_is_left_out_and_told(tmp_path: Path) -> None:
    def inventing(body: dict[str, Any]) -> str:
        answer = json.loads(quoting(body))
        if "rules" in answer:
            answer["rules"].append(
                {"passage": "Agents may do as they like.", "rule": "Do as you like."}
            )
        return json.dumps(answer)

    with a_scripted_chat_server(inventing) as server:
        handbook = a_project(tmp_path, **on(server))
        outcome = aidsafe(tmp_path, "policy", "import", str(handbook))
    assert outcome.returncode == 0, outcome.stdout
    assert "left out, no passage says so: Do as you like." in outcome.stdout
    assert "Do as you like." not in drafted(tmp_path)["rules"].values()
    text = (tmp_path / "policies/drafts/handbook.toml").read_text()
    assert "# - Do as you like." in text


@pytest.mark.parametrize(
    "wrap",
    [
        lambda answer: f"Here you are:\n```json\n{answer}\n```\nAnything else?",
        lambda answer: f"<think>Which rules?</think>{answer}",
        lambda answer: answer.replace('"rules": [', '"rules":  [ ') + "\n\n",
    ],
)
def test_odd_replies_are_read_as_everywhere_else(
    tmp_path: Path, wrap: Callable[[str], str]
) -> None:
    with a_scripted_chat_server(lambda body: wrap(quoting(body))) as server:
        handbook = a_project(tmp_path, **on(server))
        outcome = aidsafe(tmp_path, "policy", "import", str(handbook))
    assert outcome.returncode == 0, outcome.stdout
    assert len(drafted(tmp_path)["rules"]) == 4


def test_a_part_that_gives_no_valid_answer_is_counted_and_the_others_are_kept(
    tmp_path: Path,
) -> None:
    def failing_once(body: dict[str, Any]) -> str:
        is_second = "part 2 of" in json.dumps(body["messages"])
        return "I would rather not." if is_second else quoting(body)

    lines = [f"Agents never name customer number {n} to others." for n in range(400)]
    with a_scripted_chat_server(failing_once) as server:
        handbook = a_project(tmp_path, **on(server))
        handbook.write_text("\n\n".join(lines))
        outcome = aidsafe(tmp_path, "policy", "import", str(handbook))
    assert outcome.returncode == 1
    assert "Not read line" in outcome.stdout
    text = (tmp_path / "policies/drafts/handbook.toml").read_text()
    assert "# Nothing came of line" in text


def test_a_part_that_gave_no_valid_answer_is_asked_again_by_the_next_command(
    tmp_path: Path,
) -> None:
    answers = ["I would rather not."] * 3

    def better_later(body: dict[str, Any]) -> str:
        return answers.pop() if answers else quoting(body)

    with a_scripted_chat_server(better_later) as server:
        handbook = a_project(tmp_path, **on(server))
        first = aidsafe(tmp_path, "policy", "import", str(handbook))
        assert first.returncode == 1
        assert "each with its passage" not in first.stdout
        second = aidsafe(tmp_path, "policy", "import", str(handbook))
    assert second.returncode == 0, second.stdout


def test_a_document_that_sets_no_rule_leaves_no_file(tmp_path: Path) -> None:
    handbook = a_project(tmp_path)
    handbook.write_text("The team was founded in 2011, in a garage by the sea.")
    outcome = aidsafe(tmp_path, "policy", "import", str(handbook))
    assert outcome.returncode == 1
    assert "no rule came of it" in outcome.stdout
    assert not (tmp_path / "policies/drafts").exists()


def test_what_a_document_says_is_no_markup_and_moves_no_cursor(tmp_path: Path) -> None:
    handbook = a_project(tmp_path)
    handbook.write_text('Agents must never say [red]"\\x"[/red] \x1b[2J \x07 aloud.')
    outcome = aidsafe(tmp_path, "policy", "import", str(handbook))
    assert outcome.returncode == 0, outcome.stderr
    assert "\x1b" not in outcome.stdout
    assert "[red]" in outcome.stdout
    assert "\x1b" in drafted(tmp_path)["rules"]["1"]


def test_an_id_that_is_none_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    handbook = a_project(tmp_path)
    outcome = aidsafe(tmp_path, "policy", "import", str(handbook), "--id", "not an id")
    assert outcome.returncode == 2
    assert "letters, digits and underscores" in outcome.stdout


@pytest.mark.slow
def test_an_import_that_is_killed_asks_nothing_twice(tmp_path: Path) -> None:
    victims: list[int] = []

    def killing(body: dict[str, Any]) -> str:
        if len(server.requests) == 3 and victims:
            os.kill(victims.pop(), signal.SIGKILL)
        return quoting(body)

    lines = [f"Agents never name customer number {n} to others." for n in range(600)]
    with a_scripted_chat_server(killing) as server:
        handbook = a_project(tmp_path, **on(server))
        handbook.write_text("\n\n".join(lines))
        command = [sys.executable, "-m", "aidsafe_dagster.cli", "policy", "import"]
        with subprocess.Popen(
            [*command, str(handbook)], cwd=tmp_path, env=environment(tmp_path)
        ) as process:
            victims.append(process.pid)
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "policies/drafts").exists()
        outcome = aidsafe(tmp_path, "policy", "import", str(handbook))
    assert outcome.returncode == 0, outcome.stdout
    asked = Counter(json.dumps(body, sort_keys=True) for body in server.requests)
    # Only the call that was in flight.
    assert sum(count - 1 for count in asked.values()) <= 1
