"""The models under test, as the engine is told of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from aidsafe_dagster.evaluation.settings import CandidateSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.lineage import hash_file, read_lineage


def require_candidates(candidates: Sequence[CandidateSettings], engine: str) -> None:
    """Raises:
    SetupError: there is none, or nobody who could answer for one.
    """
    if engine == "rehearsal":
        raise SetupError(
            "safety_eval: the rehearsal engine has no model to test, and shares that were made up would look like "
            "results; set engine = 'vllm' or 'endpoint'"
        )
    if not candidates:
        raise SetupError(
            "evaluation.models: name the models under test, such as models = [{ name = 'base' }, { name = 'sft', "
            "model = 'sft' }]; a model is the engine's own unless it names another, or a LoRA adapter that is served"
        )


def as_role(candidate: CandidateSettings, adapters: Mapping[str, str]) -> dict[str, str]:
    """Settings of the role `candidate`. The revision keeps the answers of different weights apart in the journal."""
    weights = candidate.revision or _hash_of(adapters.get(candidate.model, ""))
    revision = " ".join(filter(None, (weights, candidate.base_url)))
    return candidate.model_dump(include={"model", "base_url", "api_key_env"}) | {
        "revision": revision
    }


def is_rehearsed(candidate: CandidateSettings, adapters: Mapping[str, str]) -> bool:
    """True for an adapter of this project that was trained on simulated rows."""
    folder = adapters.get(candidate.model)
    lineage = read_lineage(Path(folder)) if folder else None
    return bool(lineage and lineage.simulated)


def _hash_of(adapter: str) -> str:
    """Of the weights in a LoRA adapter's folder; empty where there is none on this machine."""
    return " ".join(map(hash_file, sorted(Path(adapter).glob("adapter_model.*")))) if adapter else ""
