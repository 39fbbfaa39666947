"""The exports of what was judged, each trained on for two steps by the trainer that it is for.

The rows come from the pipeline, through every stage and gate, with the rehearsal engine. The model
is tiny and its weights are random. TRL 1.16 has no PRMTrainer: steps are trained on as its earlier
releases did, as the classes of the tokens that end them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import ROOT, Site, a_site, aidsafe, prompts_file, some_prompts
from tests.training.test_trl import QUIET, TRAIN_PYTHON, tiny

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]
__all__ = ["tiny"]

BEFORE = """
import json, sys, warnings
warnings.filterwarnings("ignore")
model, train_file, out, *more = sys.argv[1:]
from datasets import load_dataset
rows = load_dataset("parquet", data_files=train_file, split="train")
common = dict(
    output_dir=out, max_steps=2, per_device_train_batch_size=2, logging_steps=1,
    report_to=[], use_cpu=True, save_strategy="no", bf16=False,
)
"""
AFTER = """
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
print(json.dumps({"steps": trainer.state.global_step, "losses": losses}))
"""
SFT = """
from trl import SFTConfig, SFTTrainer
trainer = SFTTrainer(model=model, args=SFTConfig(**common), train_dataset=rows)
trainer.train()
"""
DPO = """
from trl import DPOConfig, DPOTrainer
trainer = DPOTrainer(model=model, args=DPOConfig(**common), train_dataset=rows)
trainer.train()
"""
KTO = """
from trl import KTOConfig, KTOTrainer
from transformers import AutoModelForCausalLM, AutoTokenizer
trainer = KTOTrainer(
    model=AutoModelForCausalLM.from_pretrained(model),
    args=KTOConfig(**common), train_dataset=rows,
    processing_class=AutoTokenizer.from_pretrained(model),
)
trainer.train()
"""
REWARD = """
from trl import RewardConfig, RewardTrainer
trainer = RewardTrainer(model=model, args=RewardConfig(**common), train_dataset=rows)
trainer.train()
"""
PRM = """
from transformers import (
    AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification,
    Trainer, TrainingArguments,
)
tokenizer = AutoTokenizer.from_pretrained(model)
def tokens(row):
    ids = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
    labels = [-100] * len(ids)
    for step, label in zip(row["completions"], row["labels"], strict=True):
        step_ids = tokenizer(step + "\\n", add_special_tokens=False)["input_ids"]
        ids = ids + step_ids
        labels = labels + [-100] * (len(step_ids) - 1) + [int(label)]
    return {"input_ids": ids, "labels": labels}
encoded = rows.map(tokens, remove_columns=rows.column_names)
trainer = Trainer(
    model=AutoModelForTokenClassification.from_pretrained(model, num_labels=2),
    args=TrainingArguments(**common), train_dataset=encoded,
    data_collator=DataCollatorForTokenClassification(tokenizer),
)
trainer.train()
"""
GRPO = """
# Behind the trainer's own packages: this environment need not have the pipeline installed.
sys.path += more
from aidsafe_dagster.rewards import Rewards
from trl import GRPOConfig, GRPOTrainer
rewards = Rewards()
arguments = common | {"per_device_train_batch_size": 4}
trainer = GRPOTrainer(
    model=model, reward_funcs=rewards.functions, train_dataset=rows,
    args=GRPOConfig(**arguments, num_generations=4, max_completion_length=24),
)
trainer.train()
names = {key for entry in trainer.state.log_history for key in entry if key.startswith("rewards/")}
assert {f"rewards/{part.__name__}/mean" for part in rewards.functions} <= names, names
rewards.close()
"""
TRAINERS = {
    "trl-prm": PRM,
    "trl-kto": KTO,
    "trl-reward": REWARD,
    "guard-policy": SFT,
    "guard-llama": SFT,
    "trl-grpo": GRPO,
    "counterfactual-sft": SFT,
    "counterfactual-dpo": DPO,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a finished batch, and its exports in the folder `out`."""
    folder = tmp_path_factory.mktemp("site")
    second = folder / "other_policies"
    second.mkdir()
    for file in sorted((ROOT / "aidsafe_dagster" / "policies").glob("*.toml")):
        policy = file.read_text().replace('purpose = "', 'purpose = "Otherwise: ')
        (second / file.name).write_text(policy)
    # The rehearsal then answers every prompt otherwise under the second policies.
    settings = {
        "counterfactuals": {"policies": second.name},
        "rehearsal": {"contrary": 1.0},
    }
    with a_site(folder, **settings) as site:
        assert site.ingest(prompts_file(folder, some_prompts(24))).success
        run = site.make("mine-0001")
        assert run.success, run.error
        for name in TRAINERS:
            aidsafe(
                folder, "export", "--format", name, "--out", "out", "--allow-simulated"
            )
        yield site


@pytest.mark.parametrize("name", TRAINERS)
def test_an_export_is_trained_on_by_its_trainer(
    exported: Site, tiny: Path, tmp_path: Path, name: str
) -> None:
    program = BEFORE + TRAINERS[name] + AFTER
    rows = exported.folder / "out" / f"rehearsal-{name}-train.parquet"
    packages = [place for place in sys.path if place.endswith("site-packages")]
    command = [TRAIN_PYTHON, "-c", program, str(tiny), str(rows), str(tmp_path)]
    result = subprocess.run(
        [*command, str(ROOT), *packages],
        capture_output=True,
        text=True,
        check=False,
        cwd=exported.folder,
        env=os.environ | QUIET,
    )
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout.splitlines()[-1])
    assert outcome["steps"] == 2
    assert len(outcome["losses"]) == 2
