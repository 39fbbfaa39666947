from pathlib import Path

import pytest

from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.evaluation.candidates import as_role, is_rehearsed, require_candidates
from aidsafe_dagster.evaluation.settings import CandidateSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.lineage import LINEAGE_FILE, Lineage

SFT = CandidateSettings(name="sft", model="sft")


def an_adapter(folder: Path, weights: bytes) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return {"sft": str(folder)}


def test_an_adapter_that_was_trained_again_is_another_model_to_the_journal(tmp_path: Path) -> None:
    first = as_role(SFT, an_adapter(tmp_path / "a", b"one"))
    assert first["model"] == "sft"
    assert first == as_role(SFT, an_adapter(tmp_path / "b", b"one"))
    assert first["revision"] != as_role(SFT, an_adapter(tmp_path / "a", b"other"))["revision"]


def test_a_server_that_loaded_older_weights_is_not_taken_for_one_with_newer(tmp_path: Path) -> None:
    before = VLLMSettings(
        model="base", lora_adapters=an_adapter(tmp_path / "a", b"one")
    ).fingerprint
    after = VLLMSettings(
        model="base", lora_adapters=an_adapter(tmp_path / "a", b"longer")
    ).fingerprint
    assert before != after


def test_what_a_person_says_of_the_weights_wins(tmp_path: Path) -> None:
    named = SFT.model_copy(update={"revision": "run 7"})
    assert as_role(named, an_adapter(tmp_path / "a", b"one"))["revision"] == "run 7"


def test_the_same_name_at_another_server_is_another_model() -> None:
    there = SFT.model_copy(update={"base_url": "http://gpu2:8000/v1"})
    assert as_role(there, {})["revision"] != as_role(SFT, {})["revision"] == ""


def test_the_rehearsal_engine_is_refused_and_somebody_has_to_be_tested() -> None:
    with pytest.raises(SetupError, match="the rehearsal engine has no model to test"):
        require_candidates([SFT], "rehearsal")
    with pytest.raises(SetupError, match=r"evaluation\.models: name the models under test"):
        require_candidates([], "endpoint")


@pytest.mark.parametrize("simulated", [True, False])
def test_an_adapter_says_whether_it_learned_from_the_rehearsal(
    tmp_path: Path, *, simulated: bool
) -> None:
    adapters = an_adapter(tmp_path / "a", b"one")
    assert not is_rehearsed(SFT, adapters)
    lineage = Lineage(
        key="k", method="sft", dataset_version="v", batches={}, licences={}, simulated=simulated, base_model="m",
        base_revision="", from_adapter="", weights="w", recipe={}, result={}, seconds=1.0,
    )  # fmt: skip
    (tmp_path / "a" / LINEAGE_FILE).write_text(lineage.model_dump_json())
    assert is_rehearsed(SFT, adapters) == simulated
