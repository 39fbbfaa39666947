"""Models that the command line names."""

import pytest

from aidsafe_dagster.cli.named_models import model_variants, named_model
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.settings.schema import Settings

SETTINGS = Settings(servers={"fast": {"base_url": "http://127.0.0.1:1/v1"}})


def test_a_model_may_have_a_server_of_the_settings() -> None:
    assert named_model(SETTINGS, "org/small") == {"model": "org/small"}
    on_server = {"model": "org/small", "server": "fast"}
    assert named_model(SETTINGS, "org/small@fast") == on_server


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("small@fats", "unknown server 'fats'.*fast"),
        ("@fast", "names no model"),
        ("small@", "names no model"),
        (" ", "names no model"),
    ],
)
def test_a_mistake_in_a_name_is_named(name: str, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        named_model(SETTINGS, name)


def test_each_model_is_tried_alone_and_each_two_as_a_pair() -> None:
    variants = model_variants(SETTINGS, ["a", "b@fast", "c", "a"], [], pairs=True)
    assert list(variants) == ["a", "b@fast", "c", "a + b@fast", "a + c", "b@fast + c"]
    assert variants["a"] == {"deliberator": {"model": "a"}}
    assert variants["a + b@fast"] == {
        "deliberator_1": {"model": "a"},
        "deliberator_2": {"model": "b", "server": "fast"},
    }


def test_a_pair_sits_in_turn_around_a_larger_table() -> None:
    settings = Settings(deliberation={"agents": 3})
    pair = model_variants(settings, ["a", "b"], [], pairs=True)["a + b"]
    models = [role["model"] for role in pair.values()]
    assert models == ["a", "b", "a"]


def test_models_may_take_other_roles_which_are_no_pairs() -> None:
    variants = model_variants(SETTINGS, ["a", "b"], ["refiner"], pairs=True)
    assert variants == {
        "a": {"refiner": {"model": "a"}},
        "b": {"refiner": {"model": "b"}},
    }
    assert list(model_variants(SETTINGS, ["a", "b"], [], pairs=False)) == ["a", "b"]


def test_an_unknown_role_is_named() -> None:
    with pytest.raises(SetupError, match="unknown role 'refinr'"):
        model_variants(SETTINGS, ["a"], ["refinr"], pairs=True)
