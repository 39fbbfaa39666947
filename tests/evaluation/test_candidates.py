from pathlib import Path

import pytest

from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.evaluation.candidates import (
    candidate_role,
    is_rehearsed,
    require_candidates,
)
from aidsafe_dagster.evaluation.settings import CandidateSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.lineage import LINEAGE_FILE, Lineage

SFT = CandidateSettings(name="sft", model="sft")


def an_adapter(folder: Path, weights: bytes) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return {"sft": str(folder)}


def test_a_retrained_adapter_is_another_model_to_the_journal(tmp_path: Path) -> None:
    first = candidate_role(SFT, an_adapter(tmp_path / "a", b"one"))
    assert first["model"] == "sft"
    assert first == candidate_role(SFT, an_adapter(tmp_path / "b", b"one"))
    assert (
        first["revision"]
        != candidate_role(SFT, an_adapter(tmp_path / "a", b"other"))["revision"]
    )


def test_a_server_with_other_weights_has_another_fingerprint(tmp_path: Path) -> None:
    before = VLLMSettings(
        model="base", lora_adapters=an_adapter(tmp_path / "a", b"one")
    ).fingerprint
    after = VLLMSettings(
        model="base", lora_adapters=an_adapter(tmp_path / "a", b"longer")
    ).fingerprint
    assert before != after


def test_a_revision_in_the_settings_takes_precedence(tmp_path: Path) -> None:
    named = SFT.model_copy(update={"revision": "run 7"})
    assert (
        candidate_role(named, an_adapter(tmp_path / "a", b"one"))["revision"] == "run 7"
    )


def test_the_same_model_on_another_server_has_another_revision() -> None:
    remote = SFT.model_copy(update={"base_url": "http://gpu2:8000/v1"})
    assert (
        candidate_role(remote, {})["revision"]
        != candidate_role(SFT, {})["revision"]
        == ""
    )


def test_the_rehearsal_engine_and_an_empty_list_of_models_are_errors() -> None:
    with pytest.raises(SetupError, match="the rehearsal engine has no model to test"):
        require_candidates([SFT], "rehearsal")
    with pytest.raises(
        SetupError, match=r"evaluation\.models: name the models under test"
    ):
        require_candidates([], "endpoint")


@pytest.mark.parametrize("simulated", [True, False])
def test_the_lineage_of_an_adapter_tells_whether_its_rows_were_simulated(
    tmp_path: Path, *, simulated: bool
) -> None:
    adapters = an_adapter(tmp_path / "a", b"one")
    assert not is_rehearsed(SFT, adapters)
    lineage = Lineage(
        key="k",
        method="sft",
        dataset_version="v",
        batches={},
        licences={},
        simulated=simulated,
        base_model="m",
        base_revision="",
        from_adapter="",
        weights="w",
        recipe={},
        result={},
        seconds=1.0,
    )
    (tmp_path / "a" / LINEAGE_FILE).write_text(lineage.model_dump_json())
    assert is_rehearsed(SFT, adapters) == simulated


def test_an_adapter_that_another_server_serves_is_known_by_its_folder(
    tmp_path: Path,
) -> None:
    folder = an_adapter(tmp_path / "a", b"one")["sft"]
    served = SFT.model_copy(update={"adapter": folder, "server": "small"})
    role = candidate_role(served, {})
    hashed = candidate_role(SFT, {"sft": folder})["revision"]
    assert role["revision"] == f"{hashed} small"
    assert role["server"] == "small"
