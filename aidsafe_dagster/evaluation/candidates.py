"""Models under test, and how the engine reaches them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from aidsafe_dagster.evaluation.settings import CandidateSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.training.lineage import hash_file, read_lineage


def require_candidates(candidates: Sequence[CandidateSettings], engine: str) -> None:
    """Check that there is a model to test and an engine that runs models.

    Raises:
        SetupError: there is no candidate, or the engine is the rehearsal.
    """
    if engine == "rehearsal":
        raise SetupError(
            "safety_eval: the rehearsal engine has no model to test, and invented shares would "
            "look like results; set engine = 'vllm' or 'endpoint'"
        )
    if not candidates:
        raise SetupError(
            "evaluation.models: name the models under test, such as models = [{ name = 'base' }, "
            "{ name = 'sft', model = 'sft' }]; a model is the engine's own unless it names "
            "another model or a LoRA adapter that is served"
        )


def candidate_role(
    candidate: CandidateSettings, adapters: Mapping[str, str]
) -> dict[str, str]:
    """Return the settings of the role `candidate`.

    The revision keeps the answers of different weights apart in the journal.

    Args:
        candidate: the model under test.
        adapters: name of a LoRA adapter → its folder.
    """
    # Retrained weights under the same name must not be answered from the journal.
    weights = candidate.revision
    if not weights:
        folder = candidate.adapter or adapters.get(candidate.model, "")
        weights = _hash_weights(folder)
    # The same name at another server is another model.
    place = candidate.base_url or candidate.server
    revision = " ".join(filter(None, (weights, place)))
    return {
        "server": candidate.server,
        "model": candidate.model,
        "base_url": candidate.base_url,
        "api_key_env": candidate.api_key_env,
        "revision": revision,
    }


def is_rehearsed(candidate: CandidateSettings, adapters: Mapping[str, str]) -> bool:
    """Return whether the model is an adapter that this project trained on simulated rows."""
    folder = candidate.adapter or adapters.get(candidate.model)
    if not folder:
        return False
    lineage = read_lineage(Path(folder))
    return lineage is not None and lineage.simulated


def _hash_weights(adapter: str) -> str:
    """Hash the weights in a LoRA adapter's folder; empty if this machine has no such folder."""
    if not adapter:
        return ""
    # safetensors, or the older .bin format.
    files = sorted(Path(adapter).glob("adapter_model.*"))
    return " ".join(map(hash_file, files))
