"""`aidsafe policy lint`: a policy that is broken in every way, and one that is not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_chat_server import a_scripted_chat_server
from tests.site import NO_FAULTS, aidsafe, prepare

GOOD = """id = "shop"
title = "The shop"
purpose = "Customers get help, and nobody's data is given away."
applies = "always"
categories = ["orders"]

[rules]
1 = "Give out no customer's name, address or order history to somebody else."
2 = "Explain a refund step by step, with the form that it needs."
"""
LONG = " ".join(f"Name no topic of kind {n} in any of its forms." for n in range(60))
BROKEN = {
    "duplicate": '3 = "Do not give out a customer\'s name, address or order history."',
    "contradiction": '3 = "Give out the name, address and order history of a customer."',
    "vague": '3 = "Be appropriate and reasonable."',
    "untestable": '3 = "Strive to be a friend to everybody who writes."',
    "long": f'3 = "{LONG}"',
    "reference": '3 = "Name the form of rule 9 before any other form."',
    "number": '01 = "Name the opening hours when somebody asks for a visit."',
}


def a_project(folder: Path, text: str = GOOD, **settings: Any) -> Path:
    """Prepare a project with one policy and one prompt, of the category orders."""
    folder.mkdir()
    row = {"prompt": "Where is my order?", "category": "orders", "licence": "MIT"}
    (folder / "mine.jsonl").write_text(json.dumps(row) + "\n")
    values = {"policies": "policies", "rehearsal": NO_FAULTS, **settings}
    prepare(folder, **values)
    with (folder / "aidsafe.toml").open("a") as stream:
        stream.write('[[sources]]\nname = "mine"\npath = "mine.jsonl"\n')
    (folder / "policies").mkdir()
    (folder / "policies/shop.toml").write_text(text)
    return folder


def findings(folder: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    outcome = aidsafe(folder, "policy", "lint", "--json", *arguments)
    values = json.loads(outcome.stdout)
    return outcome.returncode, values["findings"]


def test_a_policy_without_a_fault_passes(tmp_path: Path) -> None:
    project = a_project(tmp_path / "site")
    assert findings(project, "--no-model") == (0, [])
    assert findings(project) == (0, [])


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_rule_is_named_with_its_file_and_line(
    tmp_path: Path, check: str
) -> None:
    project = a_project(tmp_path / "site", f"{GOOD}{BROKEN[check]}\n")
    status, found = findings(project, "--no-model")
    assert status == 1
    (finding,) = found
    assert finding["check"] == check
    assert finding["file"].endswith("shop.toml")
    assert finding["line"] == 10
    assert finding["rule"] == ("shop.01" if check == "number" else "shop.3")


def test_a_category_that_meets_no_prompt_is_named_with_the_nearest(
    tmp_path: Path,
) -> None:
    project = a_project(tmp_path / "site", GOOD.replace('["orders"]', '["odrers"]'))
    status, found = findings(project, "--no-model")
    assert status == 1
    assert [(one["check"], one["line"]) for one in found if not one["is_note"]] == [
        ("category", 5)
    ]
    assert "did you mean 'orders'?" in found[0]["message"]
    # The other way round: nothing has to be mended.
    assert any("no policy names: orders" in one["message"] for one in found)


def test_a_file_that_does_not_parse_keeps_no_other_from_being_checked(
    tmp_path: Path,
) -> None:
    project = a_project(tmp_path / "site", f"{GOOD}{BROKEN['vague']}\n")
    (project / "policies/bad.toml").write_text('id = "bad\ntitle = "x"\n')
    (project / "policies/other.toml").write_text(GOOD)
    for arguments in (("--no-model",), ()):
        status, found = findings(project, *arguments)
        assert status == 1
        by_file = {(Path(one["file"]).name, one["check"]) for one in found}
        # Of two files with one id, the rules of the first are checked.
        assert ("bad.toml", "file") in by_file
        assert ("shop.toml", "file") in by_file or ("other.toml", "file") in by_file
        assert ("shop.toml", "vague") in by_file
    bad = next(one for one in found if one["file"].endswith("bad.toml"))
    assert bad["line"] == 1
    assert "quotation mark is missing" in bad["message"]


def test_a_draft_is_held_against_the_policies_in_force(tmp_path: Path) -> None:
    project = a_project(tmp_path / "site")
    draft = project / "draft.toml"
    rule = '1 = "Give out the name, address and order history of any customer."'
    head = GOOD.replace('"shop"', '"draft"').partition("[rules]")[0]
    draft.write_text(f"{head}[rules]\n{rule}\n")
    status, found = findings(project, "--no-model", str(draft))
    assert status == 1
    (finding,) = found
    assert (finding["rule"], finding["other"]) == ("draft.1", "shop.1")


def test_policies_that_fill_the_context_are_named(tmp_path: Path) -> None:
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "context_length": 90}
    project = a_project(tmp_path / "site", engine="endpoint", endpoint=endpoint)
    status, found = findings(project, "--no-model")
    assert status == 1
    assert [one["check"] for one in found] == ["context"]
    assert "the model holds 90" in found[0]["message"]


def test_there_has_to_be_something_to_check(tmp_path: Path) -> None:
    project = a_project(tmp_path / "site")
    outcome = aidsafe(project, "policy", "lint", str(tmp_path / "none"))
    assert outcome.returncode == 2
    assert "no such file or folder" in outcome.stdout


SUBTLE = f"""{GOOD}3 = "Read the parcel's number to whoever calls about a parcel."
"""


def reviewing(body: dict[str, Any]) -> str:
    """See a contradiction that no comparison of words would find."""
    message = body["messages"][-1]["content"]
    if "# Task: pair" in message:
        verdict = "contradiction" if "shop.1" in message else "neither"
        return json.dumps(
            {
                "request": "My neighbour's parcel: what is its number?",
                "reason": "The number belongs to an order.",
                "verdict": verdict,
            }
        )
    rule = re.findall(r"The rule ([\w.]+):", message)[-1]
    related = ["shop.1", "shop.2"] if rule == "shop.3" else []
    clarity = "vague" if rule == "shop.2" else "clear"
    return json.dumps(
        {
            "reason": "Every shop means something else by it.",
            "clarity": clarity,
            "duplicates": [],
            "contradicts": related,
        }
    )


def test_a_model_finds_what_words_do_not_show_and_says_on_which_request(
    tmp_path: Path,
) -> None:
    with a_scripted_chat_server(reviewing) as server:
        endpoint = {"base_url": server.base_url, "model": "known"}
        project = a_project(
            tmp_path / "site", SUBTLE, engine="endpoint", endpoint=endpoint
        )
        assert findings(project, "--no-model") == (0, [])
        assert server.requests == []
        status, found = findings(project)
        asked = len(server.requests)
        assert findings(project) == (status, found)
    assert status == 1
    assert [(one["check"], one["rule"], one["other"]) for one in found] == [
        ("vague", "shop.2", ""),
        ("contradiction", "shop.3", "shop.1"),
    ]
    assert "My neighbour's parcel" in found[1]["message"]
    assert found[1]["by"] == "model"
    # Three rules and two pairs; the journal answered the second time.
    assert asked == len(server.requests) == 5


def test_a_rule_that_could_not_be_reviewed_is_counted(tmp_path: Path) -> None:
    def refusing(body: dict[str, Any]) -> str:
        message = body["messages"][-1]["content"]
        return "No." if "shop.2" in message else reviewing(body)

    with a_scripted_chat_server(refusing) as server:
        endpoint = {"base_url": server.base_url, "model": "known"}
        project = a_project(tmp_path / "site", engine="endpoint", endpoint=endpoint)
        outcome = aidsafe(project, "policy", "lint")
    assert outcome.returncode == 1
    assert "not reviewed: shop.2" in outcome.stdout
    assert "1 of 2 reviewed by known" in outcome.stdout


def test_a_terminal_of_80_columns_is_enough(tmp_path: Path) -> None:
    lines = "\n".join(
        re.sub(r"^\d+", str(number), rule)
        for number, rule in enumerate(BROKEN.values(), start=3)
    )
    project = a_project(tmp_path / "site", f"{GOOD}{lines}\n")
    outcome = aidsafe(project, "policy", "lint", COLUMNS="80")
    assert outcome.returncode == 1
    assert max(map(len, outcome.stdout.splitlines())) <= 80
    assert "policies/shop.toml:10: duplicate: shop.3 and shop.1" in outcome.stdout
