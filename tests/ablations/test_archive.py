"""Experiments on disk: side by side, read back whole, and damage that is named."""

from pathlib import Path

import pytest

from aidsafe_dagster.ablations.archive import ExperimentArchive
from aidsafe_dagster.recipe.errors import SetupError
from tests.ablations.experiments import a_result, a_variant, an_experiment


def test_an_experiment_is_read_back_as_it_was(tmp_path: Path) -> None:
    archive = ExperimentArchive(tmp_path)
    result = a_result()
    archive.store(result)
    (read,) = archive.results()
    assert read == result
    assert archive.result(result.experiment.name) == result


def test_another_setting_another_sample_and_another_model_are_kept_beside_it(
    tmp_path: Path,
) -> None:
    archive = ExperimentArchive(tmp_path)
    archive.store(a_result())
    archive.store(a_result(prompt_ids=("p1", "p2")))
    rounds = {"deliberation.max_rounds": "4"}
    variants = (a_variant("one", **rounds), a_variant("two", **rounds))
    archive.store(a_result(variants=variants))
    model = {"judge: model": "other-judge"}
    archive.store(a_result(variants=(a_variant("one", **model), a_variant("two"))))
    assert len({result.experiment.key for result in archive.results()}) == 4


def test_the_same_experiment_once_more_is_one_experiment(tmp_path: Path) -> None:
    archive = ExperimentArchive(tmp_path)
    archive.store(a_result())
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    archive.store(a_result())
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


def test_an_experiment_that_was_cut_off_while_it_was_written_is_not_listed(
    tmp_path: Path,
) -> None:
    archive = ExperimentArchive(tmp_path)
    archive.store(a_result())
    (tmp_path / "ablations" / an_experiment().name / "experiment.json").unlink()
    assert list(archive.results()) == []


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    archive = ExperimentArchive(tmp_path)
    archive.store(a_result())
    archive.rows_path(an_experiment()).write_bytes(b"not a table")
    with pytest.raises(SetupError, match=r"refiner-\w{8}: this experiment cannot be"):
        list(archive.results())
