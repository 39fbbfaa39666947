"""`aidsafe review`, from the lake to the form and back."""

from pathlib import Path

from typer.testing import CliRunner, Result

from aidsafe_dagster.cli.review import app
from aidsafe_dagster.review.archive import Archive
from tests.review.builders import a_file, a_lake, a_row, a_sample


def review(site: Path, *arguments: str | Path) -> Result:
    settings = site / "aidsafe.toml"
    settings.touch()
    environ = {"COLUMNS": "200", "AIDSAFE_SETTINGS": str(settings)}
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], env=environ
    )


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_review_goes_out_blinded_and_its_key_stays(tmp_path: Path) -> None:
    a_lake(tmp_path)
    outcome = review(
        tmp_path,
        "make",
        "--sample",
        "4",
        "--of",
        "refined,single_llm",
        "--out",
        tmp_path / "out",
    )
    assert outcome.exit_code == 0, outcome.output
    (review_id,) = Archive(tmp_path / "data").reviews()
    assert sorted(files_in(tmp_path / "out")) == [
        f"{review_id}.csv",
        f"{review_id}.html",
    ]
    key = Archive(tmp_path / "data").key(review_id)
    assert len(key) == 4
    assert {frozenset((row.left, row.right)) for row in key} == {
        frozenset(("refined", "single_llm"))
    }


def test_making_it_again_makes_the_same_files(tmp_path: Path) -> None:
    a_lake(tmp_path)
    for folder in ("one", "other"):
        assert (
            review(
                tmp_path, "make", "--sample", "5", "--out", tmp_path / folder
            ).exit_code
            == 0
        )
    assert files_in(tmp_path / "one") == files_in(tmp_path / "other")
    assert len(Archive(tmp_path / "data").reviews()) == 1


def test_a_sample_that_is_smaller_than_wanted_is_reported(tmp_path: Path) -> None:
    a_lake(tmp_path, {"mine-0001": ["a", "b"]}, simulated=True)
    outcome = review(tmp_path, "make", "--out", tmp_path / "out")
    assert "Only 2 prompts have the versions asked for" in outcome.output
    assert "REHEARSAL" in outcome.output


def test_ratings_are_taken_in_once_and_shown(tmp_path: Path) -> None:
    sample = a_sample(a_lake(tmp_path), size=4)
    Archive(tmp_path / "data").store_key(sample)
    rows = [a_row(sample, row.item_id, "left") for row in sample.key]
    rows += [a_row(sample, row.item_id, "right") for row in sample.key]
    ann = a_file(tmp_path / "ann.csv", rows)
    bob = a_file(tmp_path / "bob.json", [row | {"rater": "Bob"} for row in rows])
    first = review(tmp_path, "read", ann, "--rater", "Ann")
    assert first.exit_code == 0, first.output
    assert "4 items rated by Ann" in first.output
    assert "Scores by people" in first.output
    second = review(tmp_path, "read", ann, "--rater", "Ann")
    assert "was read before; nothing changed" in second.output
    assert "4 items rated by Bob" in review(tmp_path, "read", bob).output
    ratings = Archive(tmp_path / "data").ratings(sample.review_id)
    assert {rating.rater for rating in ratings} == {"Ann", "Bob"}


def test_one_wrong_file_keeps_all_files_from_being_read(tmp_path: Path) -> None:
    sample = a_sample(a_lake(tmp_path), size=4)
    Archive(tmp_path / "data").store_key(sample)
    good, bad = (
        a_file(tmp_path / "good.csv", [a_row(sample)]),
        a_file(tmp_path / "bad.csv", [a_row(sample, relevance=9)]),
    )
    failed = review(tmp_path, "read", good, bad, "--rater", "Ann")
    assert failed.exit_code == 2
    assert "column 'relevance': '9' is not a score" in failed.output
    assert Archive(tmp_path / "data").ratings(sample.review_id) == []


def test_mistakes_are_explained_without_a_traceback(tmp_path: Path) -> None:
    for arguments in (
        ("make", "--out", tmp_path / "out"),
        ("read", tmp_path / "nowhere.csv", "--rater", "Ann"),
    ):
        failed = review(tmp_path, *arguments)
        assert failed.exit_code == 2
        assert "Error" in failed.output
        assert "Traceback" not in failed.output
    (tmp_path / "taken").write_text("a file")
    a_lake(tmp_path)
    refused = review(tmp_path, "make", "--out", tmp_path / "taken").output
    assert "taken: File exists" in " ".join(refused.split())
    assert Archive(tmp_path / "data").reviews() == []
