from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import load_policies
from aidsafe_dagster.settings.schema import PACKAGE

GOOD = 'id = "privacy"\ntitle = "Privacy"\npurpose = "People own their data."\n[rules]\n1 = "Give away no address."\n'


def a_folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def test_five_policies_come_with_the_package_and_one_of_them_always_applies() -> None:
    policies = load_policies(PACKAGE / "policies")
    assert len(policies.ids) == 5
    assert [p.id for p in policies.policies if p.applies == "always"] == ["respect_and_helpfulness"]


def test_a_team_s_own_policy_is_loaded_with_its_rules(tmp_path: Path) -> None:
    policies = load_policies(a_folder(tmp_path, privacy=GOOD))
    assert policies.rule_ids == ("privacy.1",)
    assert policies.rule("privacy.1") == "Give away no address."


def test_the_version_changes_with_the_words_and_with_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    one = load_policies(a_folder(tmp_path / "a", privacy=GOOD)).version
    same = load_policies(a_folder(tmp_path / "b", renamed="# a comment\n" + GOOD)).version
    other = load_policies(
        a_folder(tmp_path / "c", privacy=GOOD.replace("address", "phone number"))
    ).version
    assert one == same != other


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD.replace("purpose", "purpos"), "unknown key 'purpos'. Did you mean 'purpose'"),
        (GOOD.replace('id = "privacy"', 'id = "not an id"'), "'id'"),
        (GOOD.split("[rules]", maxsplit=1)[0], "'rules': Field required"),
        (GOOD.split("[rules]", maxsplit=1)[0] + "[rules]\n", "'rules'"),
        (GOOD.replace("1 =", "first ="), "rules"),
        (GOOD + '1 = "Twice."\n', "line 6"),
        ("\udcff", "UTF-8"),
    ],
)
def test_a_policy_file_with_a_mistake_is_refused_by_name_and_place(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "mine.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SetupError, match=r"mine\.toml") as refused:
        load_policies(tmp_path)
    assert told in str(refused.value)


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


def test_an_unknown_rule_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"Did you mean 'privacy\.1'"):
        load_policies(a_folder(tmp_path, privacy=GOOD)).rule("privacy.2")
