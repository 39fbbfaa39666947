"""A module whose import is put off is loaded when it is used, and nobody else sees a stand-in."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from aidsafe_dagster.primitives.put_off_imports import imports_put_off


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that costs much to load, within a package."""
    package = tmp_path / "costly"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "figures.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "costly.figures"
    for loaded in ("costly", "costly.figures"):
        sys.modules.pop(loaded, None)


def import_of(name: str) -> ModuleType:
    # As `import costly.figures as figures` does.
    return importlib.import_module(name)


def test_it_is_loaded_when_something_of_it_is_used(name: str) -> None:
    with imports_put_off(name):
        figures = import_of(name)
    assert name not in sys.modules
    assert figures.answer == 42
    assert name in sys.modules


def test_what_is_used_at_once_is_loaded_at_once(name: str) -> None:
    with imports_put_off(name):
        assert import_of(name).answer == 42
    assert sys.modules[name].answer == 42


def test_afterwards_others_import_the_module_itself(name: str) -> None:
    with imports_put_off(name):
        stand_in = import_of(name)
    assert import_of(name) is not stand_in
    assert import_of(name).answer == 42


def test_what_it_lacks_is_an_attribute_error(name: str) -> None:
    with imports_put_off(name):
        figures = import_of(name)
    with pytest.raises(AttributeError, match="question"):
        _ = figures.question


def test_a_module_that_was_loaded_before_stays(name: str) -> None:
    before = import_of(name)
    with imports_put_off(name):
        assert import_of(name) is before
    assert sys.modules[name] is before


def test_a_module_that_is_not_there_is_missed_when_it_is_used() -> None:
    with imports_put_off("costly.nowhere"):
        nowhere = import_of("costly.nowhere")
    with pytest.raises(ModuleNotFoundError):
        _ = nowhere.answer
