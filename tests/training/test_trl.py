"""Training with real TRL on the CPU: a tiny model with random weights learns what it should.

The rows come from the pipeline, through every stage and gate, with the rehearsal engine. Two
controls show that the model learns from the pairs: pairs with equal sides, and pairs of which half
have their sides swapped. `make test-train` runs this, with the environment's interpreter in
TRAIN_PYTHON.
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
from aidsafe_dagster.settings.launchpad import configured_in_shell
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
CHANCE_LOSS = 0.6931  # ln 2, the loss of a coin toss
BATCH = "mine-0001"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    command = [
        TRAIN_PYTHON,
        str(ROOT / "tests/make_tiny_model.py"),
        str(folder),
        "--arch",
        "qwen3",
    ]
    subprocess.run(command, check=True, env=os.environ | QUIET)
    return folder


@pytest.fixture(scope="module")
def finished_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a batch that passed every stage and gate."""
    folder = tmp_path_factory.mktemp("site")
    with a_site(folder, splits={"validation": 0.35, "test": 0.1}) as site:
        assert site.ingest(prompts_file(folder, some_prompts(32))).success
        run = site.make(BATCH)
        assert run.success, run.error
        yield site


@pytest.fixture(scope="module")
def trained(finished_site: Site, tiny: Path) -> dict[str, dict[str, Any]]:
    """The metadata of both adapters, trained on that batch."""
    return {
        asset: train(finished_site, tiny, asset)
        for asset in ("sft_adapter", "dpo_adapter")
    }


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
    """Materialize an adapter, and return its metadata."""
    from aidsafe_dagster.definitions import defs

    overrides = {"training": settings_for(model, **changes)}
    with configured_in_shell():
        defs.resolve_job_def("train_adapters").execute_in_process(
            instance=site.instance,
            asset_selection=[dg.AssetKey(asset)],
            run_config={
                "resources": {"settings": {"config": {"overrides": overrides}}}
            },
        )
    event = site.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {
        key: value.value for key, value in event.asset_materialization.metadata.items()
    }


def loss_with_pairs(
    folder: Path, finished_site: Site, tiny: Path, **columns: pl.Expr
) -> float:
    """Return the loss on held-out pairs after DPO on the batch's pairs with changed columns.

    The checks are reported as passed, because the gate refuses such pairs.
    """
    rows = finished_site.lake.rows(Stage.FINE_TUNE_SPLITS, BATCH).with_columns(
        **columns
    )
    with a_site(folder) as site:
        put_checked(site, BATCH, from_frame(rows, FineTuneRow))
        metadata = train(site, tiny, "dpo_adapter", dpo=DPO | {"from_sft": False})
    return float(metadata["eval_loss"])


def test_sft_lowers_the_loss_on_held_out_rows(
    trained: dict[str, dict[str, Any]],
) -> None:
    metadata = trained["sft_adapter"]
    curves = read_curves(Path(metadata["path"]))
    assert metadata["eval_loss"] < curves["eval_loss"][0][1] - 0.15
    assert metadata["train_loss"] < curves["loss"][0][1] - 0.15
    assert [step for step, _ in curves["loss"]] == [1, 5, 10]


def test_dpo_learns_the_pairs_and_generalises_to_held_out_ones(
    trained: dict[str, dict[str, Any]],
) -> None:
    metadata = trained["dpo_adapter"]
    first_step, first_loss = read_curves(Path(metadata["path"]))["eval_loss"][0]
    assert (first_step, round(first_loss, 3)) == (0, 0.693)
    assert metadata["eval_loss"] < 0.35
    assert metadata["test_loss"] < 0.35
    assert metadata["eval_rewards_accuracies"] >= 0.9
    assert metadata["reference"] == "the SFT adapter"
    assert "simulated by rule" in metadata["simulated"]


def test_pairs_with_two_equal_sides_teach_nothing(
    tmp_path: Path, finished_site: Site, tiny: Path
) -> None:
    loss = loss_with_pairs(tmp_path, finished_site, tiny, rejected=pl.col("chosen"))
    assert loss == pytest.approx(CHANCE_LOSS, abs=0.005)


def test_pairs_with_half_of_their_sides_swapped_do_not_generalise(
    tmp_path: Path, finished_site: Site, tiny: Path
) -> None:
    swap = pl.int_range(pl.len()).over("kind", "split") % 2 == 0
    sides = {
        "chosen": pl.when(swap).then("rejected").otherwise("chosen"),
        "rejected": pl.when(swap).then("chosen").otherwise("rejected"),
    }
    assert loss_with_pairs(tmp_path, finished_site, tiny, **sides) > 0.6


def test_an_adapter_loads_on_its_base_model_and_changes_its_output(
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
    "{%- if m['role'] == 'assistant' -%}"
    "{%- generation -%}{{- m['content'] + '<|im_end|>\\n' -}}{%- endgeneration -%}"
    "{%- else -%}{{- m['content'] + '<|im_end|>\\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""The tiny model's own template with markers around the assistant's text."""
DROPPING = "{% for m in messages %}{{ m['role'] + m['content'].split('</think>')[-1] }}{% endfor %}"


def known_template(name: str) -> str:
    """The chat template of a model family, from the copy by which TRL recognises it."""
    program = "import trl; print(trl.__file__)"
    command = [TRAIN_PYTHON, "-c", program]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    package = Path(printed.strip()).parent
    return (package / "chat_templates" / f"{name}.jinja").read_text()


def a_model(tiny: Path, folder: Path, template: str) -> Path:
    """The tiny model with another chat template."""
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").unlink()
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def a_training_set(site: Site, rows: int = 20) -> TrainingSet:
    put(site.lake, "a-0001", some_rows(rows))
    return write_training_set(site.lake, ["a-0001"], site.folder)


def train_briefly(
    folder: Path,
    base: Path,
    method: Method = "sft",
    rows: int = 20,
    **changes: Any,
) -> Adapter:
    """Train for a few steps on the builders' rows."""
    settings = TrainingSettings.model_validate(
        settings_for(base, sft=SFT | {"max_steps": 2}, dpo=DPO | {"max_steps": 2})
        | changes
    )
    with a_site(folder) as site:
        data = a_training_set(site, rows)
        return make_adapter(method, settings, data, site.folder, print)


@pytest.mark.parametrize(
    ("template", "method"),
    [("", "completions"), (MARKED, "markers"), ("qwen3", "markers")],
    ids=["unmarked", "marked", "known to TRL"],
)
def test_the_loss_covers_exactly_the_assistant_text(
    tmp_path: Path, tiny: Path, template: str, method: str
) -> None:
    text = known_template(template) if template == "qwen3" else template
    model = a_model(tiny, tmp_path / "model", text) if template else tiny
    result = train_briefly(tmp_path / "site", model).lineage.result
    assert method in result["loss_on"]
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    with a_site(tmp_path / "site") as site:
        rows = pl.read_parquet(a_training_set(site).file("sft", "train"))
    answers = [
        messages[-1]["content"] + "<|im_end|>\n"
        for messages in rows["messages"].to_list()
    ]
    expected = sum(len(tokenizer.encode(answer).ids) for answer in answers)
    # Templates differ in whether a line break follows each answer.
    assert result["tokens_in_loss"] == pytest.approx(expected, abs=len(answers))
    assert result["tokens_in_loss"] < result["tokens"] - 5 * len(answers)


def test_a_training_needs_no_validation_and_no_test_split(
    tmp_path: Path, tiny: Path
) -> None:
    # The first three prompts are all in the train split.
    sft = train_briefly(tmp_path, tiny, rows=3).lineage.result
    dpo = train_briefly(tmp_path, tiny, "dpo", rows=3).lineage.result
    for result in (sft, dpo):
        assert (result["rows_train"], result["rows_validation"]) == (3, 0)
        assert result["rows_test"] == 0
        assert "eval_loss" not in result
        assert "test_loss" not in result


def test_a_model_trains_in_bf16_without_a_gpu(tmp_path: Path, tiny: Path) -> None:
    result = train_briefly(tmp_path, tiny, precision="bf16").lineage.result
    assert result["precision"] == "bf16"


def test_qlora_trains_both_adapters_on_a_4_bit_model(
    tmp_path: Path, tiny: Path
) -> None:
    sft = train_briefly(tmp_path, tiny, quantize="4bit")
    dpo = train_briefly(tmp_path, tiny, "dpo", quantize="4bit")
    assert (sft.lineage.result["steps"], dpo.lineage.result["steps"]) == (2, 2)
    assert dpo.lineage.from_adapter == sft.lineage.weights != dpo.lineage.weights


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"model": "nobody/nothing"}, "unreachable"),
        (
            {"max_length": 16},
            "every row of the train split is longer than training.max_length = 16",
        ),
        (
            {"lora": {"target_modules": ["q"]}},
            "training.lora.target_modules names no layer",
        ),
    ],
    ids=["no model", "too long", "no layer"],
)
def test_the_error_of_an_impossible_training_explains_it(
    tmp_path: Path, tiny: Path, changes: dict[str, Any], cause: str
) -> None:
    with pytest.raises(SetupError) as error:
        train_briefly(tmp_path, tiny, **changes)
    assert cause in str(error.value).partition("\n")[0]


@pytest.mark.parametrize(
    ("template", "cause"),
    [
        ("", "has no chat template"),
        (DROPPING, "drops the reasoning between <think> and </think>"),
    ],
    ids=["none", "dropping"],
)
def test_the_error_of_an_unsuitable_chat_template_explains_it(
    tmp_path: Path, tiny: Path, template: str, cause: str
) -> None:
    with pytest.raises(SetupError) as error:
        train_briefly(tmp_path / "site", a_model(tiny, tmp_path / "model", template))
    assert cause in str(error.value).partition("\n")[0]


PROGRAM = """
import sys
from pathlib import Path
from tests.training.test_trl import train_briefly, LONG
print(train_briefly(Path(sys.argv[1]), Path(sys.argv[2]), sft=LONG).lineage.result["steps"])
"""
LONG = SFT | {"max_steps": 40}


def test_a_killed_training_resumes_from_its_checkpoint_with_the_same_result(
    tmp_path: Path, tiny: Path
) -> None:
    whole = train_briefly(tmp_path / "whole", tiny, sft=LONG)
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", PROGRAM, str(folder), str(tiny)]
    variables = environment(folder, TRAIN_PYTHON=TRAIN_PYTHON)
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 120
        while not list(folder.glob("training/*/sft/checkpoints/*/trainer_state.json")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (script,) = psutil.Process(run.pid).children()
        os.kill(run.pid, signal.SIGKILL)
    psutil.wait_procs([script], timeout=30)
    assert not script.is_running()
    again = subprocess.run(
        command, env=variables, check=True, capture_output=True, text=True
    ).stdout
    assert "resuming from checkpoint-" in again
    assert again.splitlines()[-1] == "40"
    resumed = train_briefly(folder, tiny, sft=LONG)
    assert resumed.reused
    assert resumed.lineage.weights == whole.lineage.weights
    steps = [step for step, _ in read_curves(resumed.folder)["loss"]]
    assert (
        steps
        == sorted(set(steps))
        == [step for step, _ in read_curves(whole.folder)["loss"]]
    )
