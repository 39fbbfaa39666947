"""Translations to read: beside their original, labelled with language and original."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import (
    FailureReason,
    FineTuneRow,
    Message,
    Origin,
    Provenance,
    Stage,
)
from aidsafe_dagster.recipe.translation import TranslatedRow, originals
from tests.builders import a_failure
from tests.reports.builders import BATCH
from tests.site import aidsafe, prepare
from tests.viewer.lakes import a_full_lake
from tests.viewer.serving import Viewer, a_viewer

ARABIC_ID, OLD_ID = "ff11", "ff22"
PROMPT = "كيف يعمل القفل؟"
RESPONSE = "هكذا يعمل القفل."


def add_translations(lake: Lake) -> None:
    """Add one into Arabic that holds, one of other texts, and one that failed."""
    rows = lake.records(Stage.FINE_TUNE_SPLITS, BATCH, FineTuneRow)
    original = next(one for one in originals(rows) if one.sft.prompt_id == "aa11")
    origin = original.sft.model_dump(
        include={*Origin.model_fields, *Provenance.model_fields}
    )
    values = {
        "prompt": PROMPT,
        "earlier": (Message(role="user", content="سؤال عن الأقفال"),),
        "translated_from": "aa11",
        "prompt_kind": "borderline",
        "thinking": "أفكر أولا.",
        "response": RESPONSE,
        "rejected_cot": "",
        "rejected_response": "",
    }
    arabic = {"prompt_id": ARABIC_ID, "language": "ar", "original": original.content}
    old = {"prompt_id": OLD_ID, "language": "de", "original": "other"}
    for changes in (arabic, old):
        row = TranslatedRow.model_validate(origin | values | changes)
        table = f"translations_{row.language}"
        failure = a_failure(
            prompt_id="aa22",
            batch=BATCH,
            stage=table,
            reason=FailureReason.BAD_TEXT,
            detail="'response': it is far shorter than the original",
        )
        lake.store(table, BATCH, [row], TranslatedRow, [failure])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    prepare(folder)
    add_translations(a_full_lake(folder / "data"))
    return folder


@pytest.fixture(scope="module")
def viewer(project: Path) -> Iterator[Viewer]:
    with a_viewer(project / "data") as running:
        yield running


def test_a_prompt_shows_its_translations_and_whether_they_hold(viewer: Viewer) -> None:
    page = viewer.get("/prompt/aa11").text
    assert RESPONSE in page
    assert "Arabic (ar) of prompt aa11</summary>" in page
    assert "German (de) of prompt aa11: no longer that of the original" in page
    failed = viewer.get("/prompt/aa22").text
    assert "Failed at translations_ar: bad text" in failed
    # The row itself is none the worse.
    assert "aa22" in viewer.get("/rows?state=complete").text


def test_rows_are_found_by_the_text_id_and_language_of_a_translation(
    viewer: Viewer,
) -> None:
    page = viewer.get(f"/rows?q={quote(chr(34) + PROMPT + chr(34))}").text
    assert "translation into Arabic: prompt" in page
    for query in ("translated=ar", f"q={ARABIC_ID}"):
        found = viewer.get(f"/rows?{query}").text
        assert "<code>aa11</code>" in found
        assert "<code>aa22</code>" not in found
    assert "in Arabic, German too" in viewer.get("/rows").text
    reply = viewer.get(f"/prompt/{ARABIC_ID}")
    assert (reply.status, reply.headers["location"]) == (303, "/prompt/aa11")


def test_the_terminal_shows_a_translation_with_its_language_and_original(
    project: Path,
) -> None:
    shown = aidsafe(project, "show", ARABIC_ID, COLUMNS="80").stdout
    assert f"{ARABIC_ID} is a translation into Arabic, of aa11." in shown
    assert f"translation into Arabic, {ARABIC_ID}" in shown
    assert "Of prompt aa11" in shown
    assert RESPONSE in shown
    found = aidsafe(project, "find", "القفل", "--stage", "translations_ar").stdout
    assert f"aa11 {BATCH}\n  translations_ar prompt (Arabic)" in found
    failed = aidsafe(project, "failures", "--stage", "translations_ar").stdout
    assert "aa22 translations_ar bad_text" in failed
