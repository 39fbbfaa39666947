"""Translations in real runs: what is stored, what exports take in, and what is kept out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from aidsafe_dagster.cli.local_runs import BatchRun, run_job
from aidsafe_dagster.publishing.batch_rows import Judging
from aidsafe_dagster.publishing.batches import read_batch
from aidsafe_dagster.publishing.export import write_export
from aidsafe_dagster.recipe.fine_tune_splits import assign_split, cluster_of
from aidsafe_dagster.recipe.formats import FORMATS
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.recipe.translation import TranslatedRow
from aidsafe_dagster.resources.warehouse import create_views
from aidsafe_dagster.training.data import write_training_set
from tests.site import (
    NO_FAULTS,
    Site,
    a_copy_of,
    a_site,
    aidsafe,
    prompts_file,
    some_prompts,
)

BATCH = "mine-0001"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    splits = {"validation": 0.2, "test": 0.2}
    with a_site(folder, rehearsal=NO_FAULTS, splits=splits) as site:
        assert site.ingest(prompts_file(folder, some_prompts(8))).success
        assert site.make(BATCH).error == ""
        yield site


@pytest.fixture
def site(made: Site, tmp_path: Path) -> Iterator[Site]:
    with a_copy_of(made.folder, tmp_path / "site") as copy:
        yield copy


def translate(site: Site, *languages: str) -> BatchRun:
    config: dict[str, Any] = {"languages": list(languages)}
    ops = {"ops": {"translations": {"config": config}}}
    run = run_job(site.instance, "translate", config=ops)
    assert run.error == ""
    return run


def add_evaluation_set(site: Site, *texts: str) -> None:
    file = site.folder / "ours.jsonl"
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    with (site.folder / "aidsafe.toml").open("a") as settings:
        settings.write('[[decontamination.sets]]\nname = "ours"\npath = "ours.jsonl"\n')


def remake_splits(site: Site) -> None:
    run = run_job(
        site.instance, "make_batch", partition=BATCH, stages=[Stage.FINE_TUNE_SPLITS]
    )
    assert run.error == ""


def test_translations_join_their_originals_split_in_exports_and_training(
    site: Site,
) -> None:
    before = read_batch(site.lake, BATCH)
    run = translate(site, "de", "zh")
    train = [row for row in before.sft if row.split == "train"]
    assert 0 < len(train) < len(before.sft)
    (german, chinese) = run.metadata["translated"].records
    assert german.data["rows"] == chinese.data["rows"] == len(train)
    rows = site.lake.records("translations_de", BATCH, TranslatedRow)
    assert {row.translated_from for row in rows} == {row.prompt_id for row in train}
    splits = site.settings.splits
    assert {assign_split(cluster_of(row), splits) for row in rows} == {"train"}
    after = read_batch(site.lake, BATCH)
    assert len(after.sft) == len(before.sft) + 2 * len(train)
    added = [row for row in after.sft if row.prompt_id in after.translations]
    assert {row.split for row in added} == {"train"}
    assert all(row.prompt_id in after.pairs for row in after.dpo)
    training = write_training_set(site.lake, [BATCH], site.folder)
    assert training.rows["sft_train"] == len(train) * 3
    again = translate(site, "de", "zh")
    assert again.spending.usage.calls == 0
    assert again.spending.replayed == run.spending.usage.calls


def exported(site: Site, name: str) -> list[dict[str, Any]]:
    """Return the rows of the train split in a format."""
    judging = Judging(site.settings.load_policies(), site.settings.pairs)
    folder = site.folder / "out"
    write_export(
        site.lake, (BATCH,), FORMATS[name], folder, ["train"], judging, simulated=True
    )
    (file,) = folder.glob(f"rehearsal-{name}-train.*")
    if file.suffix == ".parquet":
        return pq.read_table(file).to_pylist()  # type: ignore[no-any-return]
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


OF_THE_RECIPE = [
    name
    for name, one in FORMATS.items()
    # Nobody names a second set of policies here.
    if not one.rows.startswith("counterfactual")
]


@pytest.mark.parametrize("name", OF_THE_RECIPE)
def test_each_format_has_the_translations_that_it_can_learn_from(
    site: Site, name: str
) -> None:
    before = exported(site, name)
    translate(site, "de")
    rows = exported(site, name)
    translations = {
        row.prompt_id: row
        for row in site.lake.records("translations_de", BATCH, TranslatedRow)
    }
    translated = [row for row in rows if row["prompt_id"] in translations]
    if FORMATS[name].rows in ("deliberations", "prm"):
        assert rows == before
        return
    assert translated
    for row in translated:
        translation = translations[row["prompt_id"]]
        text = json.dumps(row, ensure_ascii=False)
        assert json.dumps(translation.prompt, ensure_ascii=False)[1:-1] in text


def test_a_translated_answer_has_the_label_of_its_original(site: Site) -> None:
    translate(site, "de")
    rows = exported(site, "trl-kto")
    labels = {}
    for row in rows:
        (turn,) = row["completion"]
        labels[turn["content"]] = row["label"], row["score"], row["answer_of"]
    pairs = exported(site, "trl-dpo")
    translations = site.lake.records("translations_de", BATCH, TranslatedRow)
    by_original = {row.translated_from: row.prompt_id for row in translations}
    sides = {pair["prompt_id"]: pair for pair in pairs}
    compared = 0
    for original, translated in by_original.items():
        if original not in sides:
            continue
        for side in ("chosen", "rejected"):
            (turn,) = sides[original][side]
            (in_german,) = sides[translated][side]
            assert labels.get(in_german["content"]) == labels.get(turn["content"])
            compared += turn["content"] in labels
    assert compared


def test_a_translation_goes_with_its_original(site: Site) -> None:
    translate(site, "de")
    (row, *_) = site.lake.records("translations_de", BATCH, TranslatedRow)
    rows = site.lake.records(Stage.FINE_TUNE_SPLITS, BATCH, FineTuneRow)
    changed = []
    for one in rows:
        is_its = one.prompt_id == row.translated_from and one.kind == "sft"
        changed.append(one.model_copy(update={"response": "Other."}) if is_its else one)
    site.lake.store(Stage.FINE_TUNE_SPLITS, BATCH, changed, FineTuneRow, [])
    after = read_batch(site.lake, BATCH)
    assert row.prompt_id not in {one.prompt_id for one in after.rows}


def test_what_an_evaluation_set_holds_is_kept_out_in_any_language(site: Site) -> None:
    translate(site, "de")
    (row, *_) = site.lake.records("translations_de", BATCH, TranslatedRow)
    # As a rehearsal translates, so that the original alone is in no set by its words.
    add_evaluation_set(site, " ".join(["[de]", *reversed(row.prompt.split()[1:])]))
    remake_splits(site)
    before = read_batch(site.lake, BATCH)
    # Until they are looked at again, none of the translations is taken in.
    assert not before.translations
    translate(site, "de")
    ids = {one.prompt_id for one in read_batch(site.lake, BATCH).rows}
    failures = site.lake.failures("translations_de", BATCH)
    contaminated = failures.filter(reason="contaminated")["prompt_id"].to_list()
    kept_out = row.translated_from
    for name in OF_THE_RECIPE:
        in_format = {one["prompt_id"] for one in exported(site, name)}
        assert in_format
        assert not in_format & {kept_out, row.prompt_id}
    assert kept_out not in ids
    assert row.prompt_id not in ids
    left = site.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH)["prompt_id"].to_list()
    assert (kept_out in contaminated) == (kept_out in left)


def test_a_new_prompt_that_is_a_translation_is_no_new_prompt(site: Site) -> None:
    translate(site, "de")
    (row, *_) = site.lake.records("translations_de", BATCH, TranslatedRow)
    assert site.ingest(prompts_file(site.folder, [row.prompt], "later")).success
    assert site.batches == [BATCH]


def test_the_warehouse_has_the_translations_of_all_languages(site: Site) -> None:
    translate(site, "de", "zh")
    query = "SELECT language, count(*) FROM translations GROUP BY ALL ORDER BY ALL"
    with duckdb.connect() as connection:
        create_views(connection, site.lake)
        counts = connection.execute(query).fetchall()
    assert [language for language, _ in counts] == ["de", "zh"]
    assert counts[0][1] == counts[1][1] > 0


def test_a_language_that_nobody_knows_is_an_error_that_names_the_nearest(
    site: Site,
) -> None:
    ops = {"ops": {"translations": {"config": {"languages": ["dee"]}}}}
    run = run_job(site.instance, "translate", config=ops)
    assert "unknown language 'dee'" in run.error


def test_a_command_that_translates_nothing_ends_with_an_error(site: Site) -> None:
    outcome = aidsafe(
        site.folder, "translate", "--to", "de", AIDSAFE_REHEARSAL__UNPARSABLE="1.0"
    )
    assert outcome.returncode == 1, outcome.stdout
    assert "nothing was translated" in outcome.stdout
    again = aidsafe(site.folder, "translate", "--to", "de")
    assert again.returncode == 0, again.stdout
