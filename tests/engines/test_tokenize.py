"""Token counts from servers with a `/tokenize` of either dialect."""

import pytest

from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.engines.tokenize import server_token_count
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.dialects import Received, Reply, a_dialect_server


def vllm(received: Received) -> Reply:
    """Count words, and refuse what vLLM does not know."""
    assert received.path == "/tokenize"
    if "prompt" not in received.body:
        return Reply({"error": {"message": "Field required"}}, 400)
    words = received.body["prompt"].split()
    tokens = list(range(len(words)))
    return Reply({"count": len(words), "max_model_len": 8192, "tokens": tokens})


def llamacpp(received: Received) -> Reply:
    """Count words, and take another dialect's body for an empty text."""
    words = received.body.get("content", "").split()
    return Reply({"tokens": list(range(len(words)))})


def strict_llamacpp(received: Received) -> Reply:
    if "content" not in received.body:
        return Reply({"error": "content is required"}, 422)
    return llamacpp(received)


@pytest.mark.parametrize("dialect", [vllm, llamacpp, strict_llamacpp])
def test_the_tokens_of_a_text_are_counted_in_either_dialect(dialect: object) -> None:
    with a_dialect_server(dialect) as server:  # type: ignore[arg-type]
        count = server_token_count(
            EndpointSettings(base_url=server.base_url, model="m")
        )
        assert [count("one two three"), count("four five"), count("six")] == [3, 2, 1]
        # The dialect is found with the first text, and a text is asked about once.
        first = 1 if dialect is vllm else 2
        assert len(server.requests) == first + 2
        count("six")
        assert len(server.requests) == first + 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"detail": "Not Found"}, 404),
        Reply({"error": "down"}, 500),
        Reply("", 302, {"Location": "http://127.0.0.1:1/"}),
        Reply({"tokens": 3}),
        Reply([]),
        Reply("<html>"),
    ],
)
def test_a_server_without_either_says_what_to_unset(reply: Reply) -> None:
    with a_dialect_server(reply) as server:
        count = server_token_count(
            EndpointSettings(base_url=server.base_url, model="m")
        )
        with pytest.raises(SetupError, match=r"unset endpoint\.tokenize to estimate"):
            count("one")


def test_the_key_is_sent_without_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " secret\n")
    with a_dialect_server(vllm) as server:
        settings = EndpointSettings(
            base_url=server.base_url, model="m", api_key_env="MY_KEY"
        )
        server_token_count(settings)("one")
    assert server.requests[0].headers["Authorization"] == "Bearer secret"
