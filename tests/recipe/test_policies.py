from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import load_policies
from aidsafe_dagster.settings.schema import PACKAGE

GOOD = """id = "privacy"
title = "Privacy"
purpose = "People own their data."
[rules]
1 = "Give away no address."
"""


def a_folder(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def test_the_package_has_five_policies_and_one_of_them_always_applies() -> None:
    policies = load_policies(PACKAGE / "policies")
    assert len(policies.ids) == 5
    assert [p.id for p in policies.policies if p.applies == "always"] == [
        "respect_and_helpfulness"
    ]


def test_a_team_s_own_policy_is_loaded_with_its_rules(tmp_path: Path) -> None:
    policies = load_policies(a_folder(tmp_path, privacy=GOOD))
    assert policies.rule_ids == ("privacy.1",)
    assert policies.rule("privacy.1") == "Give away no address."


def test_a_policy_that_an_editor_saved_with_a_byte_order_mark_is_loaded(
    tmp_path: Path,
) -> None:
    plain = load_policies(a_folder(tmp_path / "plain", a=GOOD))
    marked = load_policies(a_folder(tmp_path / "marked", a="\ufeff" + GOOD))
    assert marked == plain


def test_the_version_depends_on_the_rules_but_not_on_comments_or_file_names(
    tmp_path: Path,
) -> None:
    changed_rule = GOOD.replace("address", "phone number")
    original = load_policies(a_folder(tmp_path / "a", privacy=GOOD)).version
    same = load_policies(
        a_folder(tmp_path / "b", renamed="# a comment\n" + GOOD)
    ).version
    other = load_policies(a_folder(tmp_path / "c", privacy=changed_rule)).version
    assert original == same != other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("purpose", "purpos"),
            "unknown key 'purpos'. Did you mean 'purpose'",
        ),
        (GOOD.replace('id = "privacy"', 'id = "not an id"'), "'id'"),
        (GOOD.split("[rules]", maxsplit=1)[0], "'rules': Field required"),
        (GOOD.split("[rules]", maxsplit=1)[0] + "[rules]\n", "'rules'"),
        (GOOD.replace("1 =", "first ="), "rules"),
        (GOOD + '1 = "Twice."\n', "line 6"),
        ("\udcff", "UTF-8"),
    ],
)
def test_a_mistake_in_a_policy_file_is_reported_with_file_and_place(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SetupError, match=r"mine\.toml") as refused:
        load_policies(tmp_path)
    assert message in str(refused.value)


def test_two_files_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SetupError, match=r"b\.toml: policy id 'privacy' is already used by a\.toml"
    ):
        load_policies(a_folder(tmp_path, a=GOOD, b=GOOD))


def test_a_folder_without_policies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no policy files"):
        load_policies(tmp_path)


def test_a_team_may_use_some_of_its_policies(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, a=GOOD, b=GOOD.replace("privacy", "secrecy"))
    assert load_policies(folder, only=["secrecy"]).ids == ("secrecy",)
    with pytest.raises(
        SetupError,
        match=r"unknown policy 'privcy'\. Did you mean 'privacy'\? Valid: privacy, secrecy",
    ):
        load_policies(folder, only=["privcy"])


def test_an_unknown_rule_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"Did you mean 'privacy\.1'"):
        load_policies(a_folder(tmp_path, privacy=GOOD)).rule("privacy.2")


def test_files_that_no_model_could_be_shown_are_refused_before_they_are_read(
    tmp_path: Path,
) -> None:
    folder = a_folder(tmp_path, privacy=GOOD)
    with (folder / "endless.toml").open("w") as file:
        file.truncate(400 * 2**20)
    message = (
        r"400.0 MiB of policies, 400.0 MiB of them in endless.toml. .* 8 MiB together"
    )
    with pytest.raises(SetupError, match=message):
        load_policies(folder)
