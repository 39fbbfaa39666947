"""Settings of model servers and of the embeddings, apart from the clients that use them.

Loading settings must be quick, so this module imports no HTTP client and no numpy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from aidsafe_dagster.recipe.dialogue import SamplingTable
from aidsafe_dagster.recipe.records import Record

VLLM_CONTINUATION: Mapping[str, Any] = {
    "continue_final_message": True,
    "add_generation_prompt": False,
}


class Prices(Record):
    """Money per million tokens, as the server's operator publishes it."""

    input: float = Field(default=0.0, ge=0)
    cached: float | None = Field(default=None, ge=0)
    """Of input that came from the prefix cache. None: as other input."""
    output: float = Field(default=0.0, ge=0)
    """Reasoning included."""
    currency: str = "USD"


class ServerSettings(Record):
    """A model server: where it is, what it takes and refuses, what it limits, what it costs.

    `profile` names a file under `engines/profiles`; its values stand where none is set here.
    """

    profile: str = ""
    base_url: str = ""
    """Up to and including the version, such as 'http://127.0.0.1:8000/v1'."""
    model: str = ""
    revision: str = ""
    """Tells the weights served under the model's name apart from earlier or later ones. Part of
    the journal's key."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key. No file holds the key itself. May be
    unset. Empty: no key is sent."""
    timeout_s: float = Field(default=600.0, gt=0)
    """For one call, including the time in the server's queue."""
    max_reply_mib: int = Field(default=32, ge=1)
    """MiB of one reply, decompressed. A larger one is left off, and counts as a useless answer. A
    stream may take eight times as much on its way, as every token comes in an envelope."""
    slots: int = Field(default=64, ge=1)
    """Calls that the server can work on at a time."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Rate limit, over all runs of this machine. None: learned from the server's replies."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """The same for tokens, prompt and answer together."""
    prices: Prices = Prices()
    context_length: int | None = Field(default=None, ge=1)
    """Tokens of prompt and answer together. None: as the server says, if it does."""
    tokenize: bool = False
    """Count tokens with the server's `/tokenize`, which vLLM and llama.cpp have."""
    priority: bool = False
    """Send a priority with each call, so that started rows go first. The server has to be set up
    for it."""
    sampling: SamplingTable | None = None
    """In place of `[sampling]`. A field that is left out here is not sent."""
    extra_body: Mapping[str, Any] = {}
    """Added to the body of each request, for what a server takes beyond the standard."""
    omit: tuple[str, ...] = ()
    """Fields of the body that the server refuses and that are not sent, such as 'seed'."""
    rename: Mapping[str, str] = {}
    """Fields of the body that the server knows by another name."""
    output: Literal["schema", "json", "text"] = "schema"
    """How the form of an answer is asked for: by JSON schema, as any JSON object, or in words
    alone. Answers are checked against the schema in any case."""
    schema_omit: tuple[str, ...] = ()
    """Keywords of JSON Schema that the server refuses, such as 'maxLength'."""
    system: Literal["own", "user"] = "own"
    """Send the system message in a role of its own, or at the head of the first user message."""
    end_loops: Literal["auto", "server", "stream", "off"] = "auto"
    """How an answer that repeats itself without end is ended early: by the server (vLLM from 0.17
    on), by streaming it and closing the connection, or not at all. 'auto' streams from servers that
    write fewer than 1,000 tokens a second."""
    reasoning: Literal["off", "keep", "drop"] = "drop"
    """Reasoning before the answer: switch it off; keep it in the journal and on the row; or let
    the model reason and drop the text. No other agent ever sees it."""
    reasoning_budget: int | None = Field(default=None, ge=1)
    """Tokens of reasoning, added to the limit of the answer."""
    reasoning_on: Mapping[str, Any] = {}
    """Body fields that switch reasoning on; sent unless `reasoning` is 'off'."""
    reasoning_off: Mapping[str, Any] = {}
    """Body fields that switch it off."""
    reasoning_budget_field: str = ""
    """Where the server takes the budget, with dots between levels; empty: nowhere."""
    continuation: Mapping[str, Any] = {}
    """Body fields by which the server goes on with a last message that is the assistant's. They are
    sent with such messages alone. Empty: it is not known to go on."""

    @property
    def model_name(self) -> str:
        """The model, with its revision where one is set."""
        return f"{self.model}@{self.revision}" if self.revision else self.model

    @property
    def answer_options(self) -> dict[str, Any]:
        """What bears on an answer besides model, messages, schema, sampling and seed.

        Empty where nothing of that is set, as in journals of earlier releases.
        """
        options: dict[str, Any] = {}
        for name in (
            "output",
            "system",
            "schema_omit",
            "omit",
            "extra_body",
            "continuation",
        ):
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                options[name] = value
        if self.reasoning_fields:
            options["reasoning"] = self.reasoning_fields
        if self.reasoning_budget:
            options["reasoning_budget"] = self.reasoning_budget
        return options

    @property
    def reasoning_fields(self) -> Mapping[str, Any]:
        """The body fields that switch reasoning on or off."""
        return self.reasoning_off if self.reasoning == "off" else self.reasoning_on


class EndpointSettings(ServerSettings):
    """The server of every role that names no other (`[endpoint]`)."""

    api_key_env: str = "AIDSAFE_API_KEY"


class EmbeddingSettings(Record):
    model: str = ""
    """With a base URL the model's name there, else a model or folder of sentence-transformers.
    Empty: no embeddings."""
    base_url: str = ""
    """Up to and including the version, such as 'http://127.0.0.1:8000/v1'. Empty:
    sentence-transformers."""
    api_key_env: str = "AIDSAFE_API_KEY"
    """Name of the environment variable that holds the key. May be unset."""
    texts_per_call: int = Field(default=64, ge=1)
    timeout_s: float = Field(default=120.0, gt=0)
    max_reply_mib: int = Field(default=64, ge=1)
    """MiB of one reply, decompressed."""
    first_wait_s: float = Field(default=1.0, gt=0)
    """Wait before a failed call is retried, doubled each time."""

    def within(self, folder: Path) -> Self:
        """Return a copy with an absolute path if the model is a folder relative to this one."""
        path = folder / self.model
        if self.model and not self.base_url and path.exists():
            return self.model_copy(update={"model": str(path)})
        return self
