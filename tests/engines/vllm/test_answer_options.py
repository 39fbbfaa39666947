"""What of the managed server's arguments is part of the journal's key."""

import json
from pathlib import Path

import pytest

from aidsafe_dagster.engines.vllm.settings import VLLMSettings


def test_nothing_is_added_to_the_keys_of_earlier_releases_by_default() -> None:
    settings = VLLMSettings(model="m", max_num_seqs=8, tensor_parallel_size=2)
    assert settings.answer_options("m") == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--gpu-memory-utilization", "0.5"),
        ("--enforce-eager", "--port", "8001"),
        ("--max-model-len=4096", "--block-size", "32"),
        ("--disable-log-requests",),
    ],
)
def test_arguments_of_memory_speed_and_network_are_no_part_of_it(
    arguments: tuple[str, ...],
) -> None:
    assert VLLMSettings(model="m", extra_args=arguments).answer_options("m") == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--quantization", "fp8"),
        ("--chat-template", "mine.jinja"),
        ("--reasoning-parser=qwen3",),
        ("--an-argument-of-a-later-release", "1"),
    ],
)
def test_whatever_else_may_change_an_answer_is_part_of_it(
    arguments: tuple[str, ...],
) -> None:
    extra = ("--enforce-eager", *arguments, "--port", "1")
    options = VLLMSettings(model="m", extra_args=extra).answer_options("m")
    assert options == {"vllm_arguments": list(arguments)}


def test_another_precision_gives_other_answers() -> None:
    one = VLLMSettings(model="m", dtype="float16").answer_options("m")
    other = VLLMSettings(model="m", dtype="bfloat16").answer_options("m")
    assert one != other


def test_an_adapter_counts_by_its_weights_and_only_where_it_answers(
    tmp_path: Path,
) -> None:
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(b"one")
    settings = VLLMSettings(model="m", lora_adapters={"careful": str(tmp_path)})
    before = settings.answer_options("careful")
    weights.write_bytes(b"trained again")
    assert settings.answer_options("careful") != before
    assert settings.answer_options("m") == {}


@pytest.mark.parametrize(("rank", "reserved"), [(4, "16"), (16, "16"), (48, "64")])
def test_the_server_reserves_room_for_the_largest_adapter(
    tmp_path: Path, rank: int, reserved: str
) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank}))
    adapters = {"mine": str(tmp_path), "on the Hub": "somebody/adapter"}
    arguments = VLLMSettings(model="m", lora_adapters=adapters).arguments()
    assert arguments[arguments.index("--max-lora-rank") + 1] == reserved
