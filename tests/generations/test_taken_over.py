"""A generation takes over prompts, and rows as they were before their last draw."""

from pathlib import Path

from aidsafe_dagster.generations.taken_over import take_over_prompts, take_over_rows
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.records import Failure, FailureReason, SeedCot, Stage
from aidsafe_dagster.settings.snapshot import take_snapshot
from tests.site import NO_FAULTS, Site, a_site, prompts_file, some_prompts

BATCH = "mine-0001"


def made(site: Site) -> Site:
    assert site.ingest(prompts_file(site.folder, some_prompts(3))).success
    assert site.make(BATCH).success
    return site


def failed(site: Site, reason: FailureReason, redraws: tuple[int, ...]) -> None:
    """Let the first row of the first stage have failed."""
    rows = site.lake.records(Stage.SEED_COTS, BATCH, SeedCot)
    failure = Failure(
        prompt_id=rows[0].prompt_id,
        batch=BATCH,
        stage=Stage.SEED_COTS,
        reason=reason,
        detail="",
        role="",
        turn=1,
        redraws=redraws,
        usage=rows[0].usage,
    )
    site.lake.store(Stage.SEED_COTS, BATCH, rows[1:], SeedCot, [failure])


def test_prompts_come_over_once(tmp_path: Path) -> None:
    with a_site(tmp_path / "site", rehearsal=NO_FAULTS) as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(3))).success
        lake = Lake(tmp_path / "lake")
        for _ in range(2):
            assert take_over_prompts(site.lake, lake) == [BATCH]
        assert lake.fingerprint("ingested", BATCH) == site.lake.fingerprint(
            "ingested", BATCH
        )


def test_a_failed_row_comes_over_as_it_was_before_its_last_draw(tmp_path: Path) -> None:
    with a_site(tmp_path / "site", rehearsal=NO_FAULTS) as site:
        made(site)
        snapshot = take_snapshot(site.settings)
        cases = {
            FailureReason.BAD_TEXT: ((0, 1), [0]),
            # Nobody answered, so nothing was drawn.
            FailureReason.ENGINE_ERROR: ((0,), [0]),
        }
        for reason, (redraws, expected) in cases.items():
            failed(site, reason, redraws)
            lake = Lake(tmp_path / reason)
            take_over_rows(site.lake, lake, [BATCH], snapshot)
            frame = lake.failures(Stage.SEED_COTS, BATCH)
            (failure,) = from_frame(frame, Failure)
            assert list(failure.redraws) == expected


def test_a_stage_of_another_recipe_and_what_rests_on_it_are_asked_anew(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path / "site", rehearsal=NO_FAULTS) as site:
        made(site)
        deliberation = site.settings.deliberation.model_copy(update={"max_rounds": 1})
        changed = site.settings.model_copy(update={"deliberation": deliberation})
        lake = Lake(tmp_path / "lake")
        taken = take_over_rows(site.lake, lake, [BATCH], take_snapshot(changed))
        assert taken.replayed == ("single_llm_cots", "seed_cots")
        assert lake.batches(Stage.SEED_COTS) == [BATCH]
        assert lake.batches(Stage.REFINED_COTS) == []
        assert taken.usage.calls > 0
