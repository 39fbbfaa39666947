"""Settings of the loop: which trained adapter speaks in the next generation, and for whom.

[generation]
adapter = "dpo"                     # or "sft": which adapter of the generation before
roles = ["target"]                  # who speaks with it; agents too, such as "deliberator_2"
served_as = "g{number}-{method}"    # its name at the server
server = ""                         # a name under [servers]; empty: where the role is asked anyway
load = false                        # true: vLLM loads an adapter while it serves
start_from = "adapter"              # DPO goes on from it; "base": both adapters anew

`aidsafe generation run` writes `number` and `speaker` into the settings of a generation.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from aidsafe_dagster.recipe.records import Record, Role
from aidsafe_dagster.training.settings import Method

_JUDGES = (Role.JUDGE, Role.SECOND_JUDGE, Role.GUARD, Role.CANDIDATE)


class SpeakingAdapter(Record):
    """An adapter that some roles speak with."""

    name: str
    """The name under which it is served."""
    weights: str
    """Hash of its weights."""
    folder: Path
    generation: int = Field(ge=1)
    """That it was trained in."""
    method: Method
    simulated: bool = False
    """It was trained on simulated rows."""

    @property
    def label(self) -> str:
        """As rows and recipes name it."""
        return f"{self.name}@{self.weights}"


class GenerationSettings(Record):
    adapter: Method = "dpo"
    """Which adapter of the generation before speaks in the next one."""
    roles: tuple[str, ...] = ("target",)
    """Roles and agents that speak with it. Judges stay as they are: they measure it."""
    served_as: str = Field(default="g{number}-{method}", min_length=1)
    """Name under which a server serves an adapter. `{number}` is the generation that trained it,
    `{method}` is sft or dpo."""
    server: str = ""
    """A name under `[servers]`, of the server with the adapters and their base model. Empty: where
    each role is asked anyway."""
    load: bool = False
    """Ask a vLLM server that does not serve an adapter yet to load it from its folder, which the
    server has to see. It takes that with `--enable-lora` and `VLLM_ALLOW_RUNTIME_LORA_UPDATING`."""
    start_from: Literal["adapter", "base"] = "adapter"
    """`adapter`: DPO goes on from the adapter that spoke, whose own answers the pairs hold, and no
    SFT adapter is trained. `base`: both adapters are trained anew from the base model."""
    number: int = Field(default=1, ge=1)
    """Of this data. Written by `aidsafe generation run`."""
    speaker: SpeakingAdapter | None = None
    """What the roles speak with. Written by `aidsafe generation run`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for role in self.roles:
            if role in _JUDGES:
                raise ValueError(
                    f"roles: {role} measures the adapter, so it cannot speak with it"
                )
        try:
            self.name_of(1, "dpo")
        except (LookupError, ValueError) as error:
            raise ValueError(
                "served_as: the only fields are {number} and {method}"
            ) from error
        return self

    def name_of(self, number: int, method: Method) -> str:
        """Return the name under which the adapter of a generation is served."""
        return self.served_as.format(number=number, method=method)
