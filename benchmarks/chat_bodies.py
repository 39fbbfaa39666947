"""A chat request's body and its answer, as all clients but the driver build and read them."""

from typing import Any

from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.records import Usage


def payload_of(request: Request) -> dict[str, Any]:
    """Return the body of a request."""
    schema = {"name": str(request.role), "schema": request.schema}
    return {
        "model": "simulated",
        "messages": [message.model_dump() for message in request.messages],
        "response_format": {"type": "json_schema", "json_schema": schema},
        **request.sampling.model_dump(),
    }


def completion_of(text: str, model: str, usage: dict[str, Any]) -> Completion:
    """Return what a dialogue is sent."""
    return Completion(
        text=text,
        model=model,
        usage=Usage(
            calls=1,
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
        ),
    )
