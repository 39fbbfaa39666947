from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.settings.schema import Settings
from tests.engines.dialects import Reply, a_dialect_server
from tests.serving import a_free_port


def a_tokenizer(folder: Path) -> Path:
    """A tokenizer.json that splits at white space."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_the_vllm_model_s_own_tokenizer_counts(tmp_path: Path) -> None:
    model = a_tokenizer(tmp_path / "model")
    counter = token_counter(
        Settings.model_validate({"engine": "vllm", "vllm": {"model": str(model)}})
    )
    assert (counter("four words are here"), counter.exact) == (4, True)


def test_a_named_tokenizer_comes_first(tmp_path: Path) -> None:
    folder = a_tokenizer(tmp_path / "named")
    counter = token_counter(
        Settings.model_validate(
            {"engine": "vllm", "tokenizer": folder, "vllm": {"model": "none"}}
        )
    )
    assert counter.name == "tokenizer named/tokenizer.json"


def test_a_model_without_a_tokenizer_file_leaves_an_estimate_that_says_so(
    tmp_path: Path,
) -> None:
    counter = token_counter(
        Settings.model_validate({"engine": "vllm", "vllm": {"model": str(tmp_path)}})
    )
    assert not counter.exact
    assert "estimate" in counter.name


def test_an_endpoint_that_is_said_to_tokenize_is_asked_once_per_text() -> None:
    with a_dialect_server(Reply({"count": 7, "tokens": []})) as server:
        endpoint = {"base_url": server.base_url, "model": "m", "tokenize": True}
        counter = token_counter(
            Settings.model_validate({"engine": "endpoint", "endpoint": endpoint})
        )
        assert (counter("some text"), counter("some text"), counter.exact) == (
            7,
            7,
            True,
        )
    assert [chat.body["prompt"] for chat in server.chats] == ["some text"]


def test_an_endpoint_without_tokenize_is_explained() -> None:
    endpoint = {
        "base_url": f"http://127.0.0.1:{a_free_port()}/v1",
        "model": "m",
        "tokenize": True,
    }
    counter = token_counter(
        Settings.model_validate({"engine": "endpoint", "endpoint": endpoint})
    )
    with pytest.raises(SetupError, match=r"unset endpoint\.tokenize"):
        counter("some text")
