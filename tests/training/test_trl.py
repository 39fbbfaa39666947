"""Training with real TRL on the CPU: a tiny model of random weights learns what there is to learn, and nothing else.

The rows are the pipeline's own, made through every stage and gate on the rehearsal engine. Controls tell learning from
its look: beside the pairs as they are, pairs whose two sides are equal, and pairs half of which have sides swapped.
Run by `make test-train`, which names the environment's interpreter in TRAIN_PYTHON.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import psutil
import pytest
from tokenizers import Tokenizer

from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import FineTuneRow, Stage
from aidsafe_dagster.training.adapter import Adapter, make_adapter
from aidsafe_dagster.training.curves import read_curves
from aidsafe_dagster.training.data import TrainingSet, write_training_set
from aidsafe_dagster.training.settings import Method, TrainingSettings
from tests.site import ROOT, Site, a_site, environment, prompts_file, some_prompts
from tests.training.sites import put, put_checked, some_rows

pytestmark = [pytest.mark.train, pytest.mark.timeout(300)]
TRAIN_PYTHON = os.environ.get("TRAIN_PYTHON", "")
QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
STEPS = {
    "max_steps": 10,
    "batch_size": 2,
    "gradient_accumulation": 1,
    "log_every": 5,
    "save_every": 5,
}
SFT = STEPS | {"learning_rate": 1e-2}
DPO = STEPS | {"learning_rate": 2e-3}
UNLEARNED = 0.6931  # the loss of a coin, ln 2
BATCH = "mine-0001"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    command = [TRAIN_PYTHON, str(ROOT / "tests/make_tiny_model.py"), str(folder), "--arch", "qwen3"]
    subprocess.run(command, check=True, env=os.environ | QUIET)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A batch that went through every stage and gate."""
    folder = tmp_path_factory.mktemp("site")
    with a_site(folder, splits={"validation": 0.35, "test": 0.1}) as site:
        assert site.ingest(prompts_file(folder, some_prompts(32))).success
        run = site.make(BATCH)
        assert run.success, run.error
        yield site


@pytest.fixture(scope="module")
def trained(made: Site, tiny: Path) -> dict[str, dict[str, Any]]:
    """Metadata of both adapters, trained on that batch."""
    return {asset: train(made, tiny, asset) for asset in ("sft_adapter", "dpo_adapter")}


def settings_for(model: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "model": str(model),
        "python": TRAIN_PYTHON,
        "environment": QUIET,
        "allow_simulated": True,
        "gradient_checkpointing": False,
        "sft": SFT,
        "dpo": DPO,
    }
    return values | changes


def train(site: Site, model: Path, asset: str, **changes: Any) -> dict[str, Any]:
    """Materializes an adapter; returns its metadata."""
    from aidsafe_dagster.definitions import defs

    overrides = {"training": settings_for(model, **changes)}
    defs.resolve_job_def("train_adapters").execute_in_process(
        instance=site.instance,
        asset_selection=[dg.AssetKey(asset)],
        run_config={"resources": {"settings": {"config": {"overrides": overrides}}}},
    )
    event = site.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {key: value.value for key, value in event.asset_materialization.metadata.items()}


def loss_with_pairs(folder: Path, made: Site, tiny: Path, **columns: pl.Expr) -> float:
    """Loss on held-out pairs after DPO on the batch's pairs with some columns changed.

    Their checks are vouched for: the gate refuses pairs such as these.
    """
    rows = made.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH).with_columns(**columns)
    with a_site(folder) as site:
        put_checked(site, BATCH, from_frame(rows, FineTuneRow))
        found = train(site, tiny, "dpo_adapter", dpo=DPO | {"from_sft": False})
    return float(found["eval_loss"])


def test_sft_lowers_the_loss_on_rows_that_were_held_out(trained: dict[str, dict[str, Any]]) -> None:
    found = trained["sft_adapter"]
    curves = read_curves(Path(found["path"]))
    assert found["eval_loss"] < curves["eval_loss"][0][1] - 0.15
    assert found["train_loss"] < curves["loss"][0][1] - 0.15
    assert [step for step, _ in curves["loss"]] == [1, 5, 10]


def test_dpo_learns_the_pipeline_s_pairs_and_shows_it_on_rows_that_were_held_out(
    trained: dict[str, dict[str, Any]],
) -> None:
    found = trained["dpo_adapter"]
    first_step, first_loss = read_curves(Path(found["path"]))["eval_loss"][0]
    assert (first_step, round(first_loss, 3)) == (0, 0.693)
    assert found["eval_loss"] < 0.35
    assert found["test_loss"] < 0.35
    assert found["eval_rewards_accuracies"] >= 0.9
    assert found["reference"] == "the SFT adapter"
    assert "simulated by rule" in found["simulated"]


def test_pairs_with_two_equal_sides_teach_nothing(tmp_path: Path, made: Site, tiny: Path) -> None:
    loss = loss_with_pairs(tmp_path, made, tiny, rejected=pl.col("chosen"))
    assert loss == pytest.approx(UNLEARNED, abs=0.005)


def test_pairs_with_half_of_their_sides_swapped_teach_nothing_that_holds_elsewhere(
    tmp_path: Path, made: Site, tiny: Path
) -> None:
    swap = pl.int_range(pl.len()).over("kind", "split") % 2 == 0
    sides = {
        "chosen": pl.when(swap).then("rejected").otherwise("chosen"),
        "rejected": pl.when(swap).then("chosen").otherwise("rejected"),
    }
    assert loss_with_pairs(tmp_path, made, tiny, **sides) > 0.6


def test_an_adapter_loads_on_its_base_model_and_changes_what_it_says(
    trained: dict[str, dict[str, Any]],
) -> None:
    program = """
import json, sys, torch
from peft import AutoPeftModelForCausalLM
for folder in sys.argv[1:]:
    model = AutoPeftModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        adapted = model(ids).logits
        with model.disable_adapter():
            base = model(ids).logits
    print(json.dumps([len(model.peft_config), float((adapted - base).abs().max())]))
"""
    folders = [trained[asset]["path"] for asset in ("sft_adapter", "dpo_adapter")]
    command = [TRAIN_PYTHON, "-E", "-W", "ignore", "-c", program, *folders]
    printed = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | QUIET
    ).stdout
    for line in printed.splitlines()[-2:]:
        adapters, difference = json.loads(line)
        assert adapters == 1
        assert difference > 0.01


MARKED = (
    "{%- for m in messages -%}{{- '<|im_start|>' + m['role'] + '\\n' -}}"
    "{%- if m['role'] == 'assistant' -%}{%- generation -%}{{- m['content'] + '<|im_end|>\\n' -}}{%- endgeneration -%}"
    "{%- else -%}{{- m['content'] + '<|im_end|>\\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""The tiny model's own template with markers around what the assistant says."""
DROPPING = "{% for m in messages %}{{ m['role'] + m['content'].split('</think>')[-1] }}{% endfor %}"


def known_template(name: str) -> str:
    """A chat template as a model family ships it, as TRL keeps it to recognise it by."""
    program = f"import trl, pathlib; print(pathlib.Path(trl.__file__).parent / 'chat_templates' / '{name}.jinja')"
    found = subprocess.run(
        [TRAIN_PYTHON, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    return Path(found.strip()).read_text()


def a_model(tiny: Path, folder: Path, template: str) -> Path:
    """The tiny model with another chat template."""
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").unlink()
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def a_training_set(site: Site) -> TrainingSet:
    put(site.lake, "a-0001", some_rows(20))
    return write_training_set(site.lake, ["a-0001"], site.folder)


def adapter(folder: Path, base: Path, method: Method = "sft", **changes: Any) -> Adapter:
    """A few steps on the builders' rows."""
    settings = TrainingSettings.model_validate(
        settings_for(base, sft=SFT | {"max_steps": 2}, dpo=DPO | {"max_steps": 2}) | changes
    )
    with a_site(folder) as site:
        return make_adapter(method, settings, a_training_set(site), site.folder, print)


@pytest.mark.parametrize(
    ("template", "found_by"),
    [("", "completions"), (MARKED, "markers"), ("qwen3", "markers")],
    ids=["unmarked", "marked", "known to TRL"],
)
def test_the_loss_covers_what_the_assistant_says_and_nothing_else(
    tmp_path: Path, tiny: Path, template: str, found_by: str
) -> None:
    text = known_template(template) if template == "qwen3" else template
    model = a_model(tiny, tmp_path / "model", text) if template else tiny
    result = adapter(tmp_path / "site", model).lineage.result
    assert found_by in result["loss_on"]
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    with a_site(tmp_path / "site") as site:
        rows = pl.read_parquet(a_training_set(site).file("sft", "train"))
    answers = [messages[-1]["content"] + "<|im_end|>\n" for messages in rows["messages"].to_list()]
    expected = sum(len(tokenizer.encode(answer).ids) for answer in answers)
    assert result["tokens_in_loss"] == pytest.approx(
        expected, abs=len(answers)
    )  # a line break at the end, or none
    assert result["tokens_in_loss"] < result["tokens"] - 5 * len(answers)


def test_qlora_trains_both_adapters_on_a_model_of_four_bits(tmp_path: Path, tiny: Path) -> None:
    sft = adapter(tmp_path, tiny, quantize="4bit")
    dpo = adapter(tmp_path, tiny, "dpo", quantize="4bit")
    assert (sft.lineage.result["steps"], dpo.lineage.result["steps"]) == (2, 2)
    assert dpo.lineage.from_adapter == sft.lineage.weights != dpo.lineage.weights


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"model": "nobody/nothing"}, "out of reach"),
        (
            {"max_length": 16},
            "every row of the train split is longer than training.max_length = 16",
        ),
        ({"lora": {"target_modules": ["q"]}}, "training.lora.target_modules names no layer"),
    ],
    ids=["no model", "too long", "no layer"],
)
def test_what_cannot_be_trained_is_explained(
    tmp_path: Path, tiny: Path, changes: dict[str, Any], cause: str
) -> None:
    with pytest.raises(SetupError) as failed:
        adapter(tmp_path, tiny, **changes)
    assert cause in str(failed.value).partition("\n")[0]


@pytest.mark.parametrize(
    ("template", "cause"),
    [("", "has no chat template"), (DROPPING, "drops the reasoning between <think> and </think>")],
    ids=["none", "dropping"],
)
def test_a_chat_template_that_does_not_do_is_explained(
    tmp_path: Path, tiny: Path, template: str, cause: str
) -> None:
    with pytest.raises(SetupError) as failed:
        adapter(tmp_path / "site", a_model(tiny, tmp_path / "model", template))
    assert cause in str(failed.value).partition("\n")[0]


PROGRAM = """
import sys
from pathlib import Path
from tests.training.test_trl import adapter, LONG
print(adapter(Path(sys.argv[1]), Path(sys.argv[2]), sft=LONG).lineage.result["steps"])
"""
LONG = SFT | {"max_steps": 40}


def test_a_training_that_was_killed_goes_on_from_its_checkpoint_to_the_same_end(
    tmp_path: Path, tiny: Path
) -> None:
    whole = adapter(tmp_path / "whole", tiny, sft=LONG)
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", PROGRAM, str(folder), str(tiny)]
    told = environment(folder, TRAIN_PYTHON=TRAIN_PYTHON)
    with subprocess.Popen(command, env=told, stdout=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 120
        while not list(folder.glob("training/*/sft/checkpoints/*/trainer_state.json")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (script,) = psutil.Process(run.pid).children()
        os.kill(run.pid, signal.SIGKILL)
    psutil.wait_procs([script], timeout=30)
    assert not script.is_running()
    again = subprocess.run(command, env=told, check=True, capture_output=True, text=True).stdout
    assert "going on from checkpoint-" in again
    assert again.splitlines()[-1] == "40"
    resumed = adapter(folder, tiny, sft=LONG)
    assert resumed.reused
    assert resumed.lineage.weights == whole.lineage.weights
    steps = [step for step, _ in read_curves(resumed.folder)["loss"]]
    assert steps == sorted(set(steps)) == [step for step, _ in read_curves(whole.folder)["loss"]]
