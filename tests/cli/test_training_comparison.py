"""What a comparison of trainings says before it trains anything."""

from pathlib import Path

from tests.site import a_site, aidsafe, prompts_file, some_prompts


def test_what_will_be_trained_asked_and_graded_is_said_before_it_begins(
    tmp_path: Path,
) -> None:
    settings = {
        "training": {
            "model": str(tmp_path / "tiny"),
            "allow_simulated": True,
        },
        "evaluation": {"benchmarks": []},
    }
    with a_site(tmp_path / "site", **settings) as site:
        site.ingest(prompts_file(site.folder, some_prompts(8)))
        run = site.make("mine-0001")
        assert run.success, run.error
        outcome = aidsafe(site.folder, "ablate", "training", "--sample", "2")
        selected = aidsafe(site.folder, "select", "--rows", "2")
        assert selected.returncode == 0, selected.stdout
        with_arms = aidsafe(site.folder, "ablate", "training", "--sample", "2")
    assert "SFT, selected" not in outcome.stdout
    assert "SFT, selected: SFT on 2 rows" in with_arms.stdout
    assert "SFT, random: SFT on 2 rows" in with_arms.stdout
    # The environment of the tests has no TRL.
    assert outcome.returncode == 1, outcome.stderr
    preview, _, _ = outcome.stdout.partition("Error")
    assert "SFT, original: left out: " in preview
    assert "SFT, ours: SFT on" in preview
    assert "Asked: up to 2 prompts of each of prompts of the test split." in preview
    assert "by the rehearsal judge, which is no model." in preview


def test_a_share_that_is_none_is_an_error_before_anything_begins(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path / "site") as site:
        outcome = aidsafe(site.folder, "ablate", "over-refusal", "--share", "1.5")
    assert outcome.returncode == 2


def test_a_trainer_that_is_not_there_is_an_error_before_anything_begins(
    tmp_path: Path,
) -> None:
    training = {"model": "tiny", "python": str(tmp_path / "no-python")}
    with a_site(tmp_path / "site", training=training) as site:
        compared = aidsafe(site.folder, "ablate", "training")
        site.ingest(prompts_file(site.folder, some_prompts(2)))
        generation = aidsafe(site.folder, "generation", "run", "--yes")
        assert (compared.returncode, generation.returncode) == (2, 2)
        assert "training.python" in compared.stdout
        assert "training.python" in generation.stdout
        # A night's work would come first otherwise.
        assert not site.lake.has("seed_cots", "mine-0001")
