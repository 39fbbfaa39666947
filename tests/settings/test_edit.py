"""Edits of a settings file: what is asked for changes, comments and order stay."""

import tomllib
from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.edit import Edit, as_toml, edit_settings

OMIT = Edit(("endpoint",), "omit", ("seed",))
RENAME = Edit(("endpoint",), "rename", {"max_tokens": "max_completion_tokens"})
NEW_SERVER = Edit(("servers", "judge"), "output", "json")
EDITS = [OMIT, RENAME, NEW_SERVER]


def edited(folder: Path, text: str, edits: list[Edit] = EDITS) -> str:
    """Return the text of a file after the edits; a second time they change nothing."""
    file = folder / "aidsafe.toml"
    file.write_bytes(text.encode())
    edit_settings(file, edits)
    assert edit_settings(file, edits) == []
    return file.read_bytes().decode()


def test_comments_and_order_stay_and_new_keys_end_their_table(tmp_path: Path) -> None:
    text = (
        "# mine\nseed = 3\n\n[endpoint] # the big one\n"
        'base_url = "x"   # near\nomit = ["top_p"] # why\n\n# about the driver\n'
        "[driver]\nmax_attempts = 5\n"
    )
    assert edited(tmp_path, text) == (
        "# mine\nseed = 3\n\n[endpoint] # the big one\n"
        'base_url = "x"   # near\nomit = ["seed"] # why\n'
        'rename = {max_tokens = "max_completion_tokens"}\n\n# about the driver\n'
        '[driver]\nmax_attempts = 5\n\n[servers.judge]\noutput = "json"\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        'endpoint.base_url = "x"\nseed = 3\n',
        'endpoint = {base_url = "x"}\n',
        '[endpoint]\nbase_url = "x"\n\n[endpoint.rename]\nseed = "s"\n\n[driver]\n',
        '[endpoint]\nrename.seed = "s"\n[driver]\nmax_attempts = 1\n',
        '[endpoint]\nrename = {seed = "s"}\n',
        "[endpoint.prices]\ninput = 1\n",
        '[servers.other]\nmodel = "x"\n[driver]\n[servers.more]\nmodel = "y"\n',
        '[servers.judge]\nmodel = "x"\n[[sources]]\nname = "a"\n',
    ],
)
def test_every_form_of_a_table_takes_the_edits_and_keeps_the_rest(
    tmp_path: Path, text: str
) -> None:
    values = tomllib.loads(edited(tmp_path, text))
    assert values["endpoint"].pop("omit") == ["seed"]
    assert values["servers"]["judge"].pop("output") == "json"
    new_name = values["endpoint"]["rename"].pop("max_tokens")
    assert new_name == "max_completion_tokens"
    assert _without_empty(values) == _without_empty(tomllib.loads(text))


def _without_empty(values: object) -> object:
    if not isinstance(values, dict):
        return values
    inner = {key: _without_empty(value) for key, value in values.items()}
    return {key: value for key, value in inner.items() if value != {}}


def test_a_key_can_be_removed(tmp_path: Path) -> None:
    text = '[roles.judge]\nbase_url = "x"\nmodel = "m" # best\n'
    edit = Edit(("roles", "judge"), "base_url", None)
    assert edited(tmp_path, text, [edit]) == '[roles.judge]\nmodel = "m" # best\n'


def test_line_ends_of_windows_stay(tmp_path: Path) -> None:
    text = edited(tmp_path, '\ufeff[endpoint]\r\nbase_url = "x"\r\n')
    assert text.count("\n") == text.count("\r\n")
    assert tomllib.loads(text)["endpoint"]["omit"] == ["seed"]


def test_a_file_that_is_missing_is_made(tmp_path: Path) -> None:
    file = tmp_path / "aidsafe.toml"
    changes = edit_settings(file, [OMIT])
    assert file.read_text() == '[endpoint]\nomit = ["seed"]\n'
    assert changes == ["+[endpoint]", '+omit = ["seed"]']


def test_a_link_stays_a_link_and_access_rights_stay(tmp_path: Path) -> None:
    shared = tmp_path / "shared.toml"
    shared.write_text("seed = 1\n")
    shared.chmod(0o640)
    link = tmp_path / "aidsafe.toml"
    link.symlink_to(shared)
    edit_settings(link, [OMIT])
    assert link.is_symlink()
    assert "omit" in shared.read_text()
    assert shared.stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_no_toml_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "aidsafe.toml"
    file.write_text("[endpoint\n")
    with pytest.raises(SetupError, match="not a TOML file"):
        edit_settings(file, [OMIT])
    assert file.read_text() == "[endpoint\n"


def test_a_form_that_cannot_be_edited_is_left_to_its_owner_with_the_lines(
    tmp_path: Path,
) -> None:
    file = tmp_path / "aidsafe.toml"
    file.write_text("endpoint = 3\n")
    with pytest.raises(SetupError, match=r"put these lines there yourself") as refused:
        edit_settings(file, [OMIT])
    assert 'omit = ["seed"]' in str(refused.value)
    assert file.read_text() == "endpoint = 3\n"


def test_edits_are_shown_as_the_lines_of_a_settings_file() -> None:
    removal = Edit(("roles", "judge"), "base_url", None)
    assert as_toml([*EDITS, removal]) == (
        '[endpoint]\nomit = ["seed"]\n'
        'rename = {max_tokens = "max_completion_tokens"}\n\n'
        '[servers.judge]\noutput = "json"\n\n'
        "[roles.judge]\n# remove base_url"
    )
