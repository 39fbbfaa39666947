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
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environ)


def test_a_review_goes_out_blinded_and_its_key_stays(tmp_path: Path) -> None:
    a_lake(tmp_path)
    made = review(
        tmp_path, "make", "--sample", "4", "--of", "refined,single_llm", "--out", tmp_path / "out"
    )
    assert made.exit_code == 0, made.output
    (review_id,) = Archive(tmp_path / "data").reviews()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
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
        assert review(tmp_path, "make", "--sample", "5", "--out", tmp_path / folder).exit_code == 0
    one, other = (
        {f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("one", "other")
    )
    assert one == other
    assert len(Archive(tmp_path / "data").reviews()) == 1


def test_fewer_prompts_than_asked_for_are_said_to_be_fewer(tmp_path: Path) -> None:
    a_lake(tmp_path, {"mine-0001": ["a", "b"]}, simulated=True)
    made = review(tmp_path, "make", "--out", tmp_path / "out")
    assert "Only 2 prompts have the versions asked for" in made.output
    assert "REHEARSAL" in made.output


def test_what_raters_say_is_read_once_and_shown(tmp_path: Path) -> None:
    sample = a_sample(a_lake(tmp_path), size=4)
    Archive(tmp_path / "data").store_key(sample)
    rows = [a_row(sample, row.item_id, side) for row in sample.key for side in ("left", "right")]
    ann, bob = (
        a_file(tmp_path / "ann.csv", rows),
        a_file(tmp_path / "bob.json", [row | {"rater": "Bob"} for row in rows]),
    )
    first = review(tmp_path, "read", ann, "--rater", "Ann")
    assert (first.exit_code, "4 items rated by Ann" in first.output) == (0, True)
    assert "Scores by people" in first.output
    second = review(tmp_path, "read", ann, "--rater", "Ann")
    assert "was read before; nothing changed" in second.output
    assert "4 items rated by Bob" in review(tmp_path, "read", bob).output
    assert {rating.rater for rating in Archive(tmp_path / "data").ratings(sample.review_id)} == {
        "Ann",
        "Bob",
    }


def test_one_wrong_file_keeps_all_from_being_read(tmp_path: Path) -> None:
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


def test_what_cannot_be_done_is_told_without_a_traceback(tmp_path: Path) -> None:
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
    assert "taken: File exists" in review(tmp_path, "make", "--out", tmp_path / "taken").output
    assert Archive(tmp_path / "data").reviews() == []
