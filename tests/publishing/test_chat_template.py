"""Chat templates: where they are read from, and that they render as transformers renders them."""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from aidsafe_dagster.publishing.chat_template import (
    ChatTemplate,
    TemplateFailed,
    load_chat_template,
)
from aidsafe_dagster.recipe.errors import SetupError
from tests.publishing.hubs import TOKEN, a_hub

CHAT = [{"role": "user", "content": "Hi <b>"}, {"role": "assistant", "content": "Yes."}]
PLAIN = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
RENDERED = "<s>user: Hi <b>\nassistant: Yes.\n"
CONFIG = {
    "bos_token": {"content": "<s>"},
    "eos_token": "</s>",
    "pad_token": None,
    "chat_template": PLAIN,
}
NOWHERE = HfApi(endpoint="http://127.0.0.1:9")


def template(source: str, **tokens: str) -> ChatTemplate:
    return ChatTemplate("a template", source, tokens)


def rendered(source: str, chat: Any = CHAT, **how: Any) -> str:
    return template(source).render(chat, **how).text


def write(folder: Path, **files: Any) -> Path:
    """`tokenizer_config_json` stands for tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{stem}.{suffix}").write_text(text)
    return folder


def test_a_tokenizer_s_folder_tells_template_and_special_tokens(tmp_path: Path) -> None:
    found = load_chat_template(str(write(tmp_path, tokenizer_config_json=CONFIG)), NOWHERE)
    assert found.render(CHAT).text == RENDERED
    assert found.tokens == {"bos_token": "<s>", "eos_token": "</s>"}


def test_a_template_s_own_file_wins_over_the_configuration(tmp_path: Path) -> None:
    old = CONFIG | {"chat_template": "old"}
    found = load_chat_template(
        str(write(tmp_path, tokenizer_config_json=old, chat_template_jinja=PLAIN)), NOWHERE
    )
    assert found.render(CHAT).text == RENDERED


def test_of_several_templates_the_default_is_taken(tmp_path: Path) -> None:
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": PLAIN}]
    write(tmp_path, tokenizer_config_json=CONFIG | {"chat_template": several})
    assert (
        load_chat_template(str(tmp_path / "tokenizer_config.json"), NOWHERE).render(CHAT).text
        == RENDERED
    )


def test_a_file_takes_its_special_tokens_from_beside_it(tmp_path: Path) -> None:
    write(tmp_path, tokenizer_config_json=CONFIG, mine_jinja=PLAIN)
    assert load_chat_template(str(tmp_path / "mine.jinja"), NOWHERE).render(CHAT).text == RENDERED


def test_a_model_on_the_hub_is_asked_for_its_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_hub(tmp_path) as hub:
        repo = hub.create("model", "acme/model")
        tree = repo.commits[repo.branches["main"]].tree
        tree["tokenizer_config.json"] = hub.blob(json.dumps(CONFIG).encode())
        api = HfApi(endpoint=hub.base, token=TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        assert load_chat_template("acme/model", api).render(CHAT).text == RENDERED
        with pytest.raises(SetupError, match=r"acme/none: .*HTTP 404.*no such") as raised:
            load_chat_template("acme/none", api)
        assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_config_json": {"bos_token": "<s>"}}, "no chat template"),
        ({"tokenizer_config_json": "[1]"}, "a JSON object is expected"),
        ({"tokenizer_config_json": "{"}, "not JSON"),
    ],
)
def test_a_folder_without_a_template_says_what_is_missing(
    tmp_path: Path, files: Any, message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        load_chat_template(str(write(tmp_path, **files)), NOWHERE)


def test_a_place_that_is_none_is_told() -> None:
    with pytest.raises(SetupError, match="neither a folder, nor a file, nor a model"):
        load_chat_template("./nothing/here", NOWHERE)


def test_a_broken_template_names_its_line() -> None:
    with pytest.raises(SetupError, match="a template: line 2: "):
        template("one\n{% if %}").render(CHAT)


def test_json_is_not_escaped_for_html() -> None:
    assert rendered("{{ messages[0] | tojson }}") == '{"role": "user", "content": "Hi <b>"}'


def test_a_template_may_refuse_a_conversation_in_its_own_words() -> None:
    with pytest.raises(TemplateFailed, match="no assistant first"):
        rendered("{{ raise_exception('no assistant first') }}")


def test_a_template_may_break_out_of_its_loops_and_tell_the_date() -> None:
    loop = "{% for m in messages %}{% if loop.index == 2 %}{% break %}{% endif %}{{ m.role }}{% endfor %}"
    assert rendered(loop) == "user"
    assert rendered("{{ strftime_now('%Y') }}").isdecimal()


def test_the_opening_of_a_turn_is_asked_for() -> None:
    source = "{% if add_generation_prompt %}assistant:{% endif %}"
    assert (rendered(source), rendered(source, opens_turn=True)) == ("", "assistant:")


def test_reasoning_is_given_under_the_names_that_templates_read() -> None:
    chat = [{"role": "assistant", "content": "Yes.", "reasoning_content": "Because."}]
    assert (
        rendered("{{ messages[0].reasoning_content }} {{ messages[0].thinking }}", chat)
        == "Because. Because."
    )
    nothing = [{"role": "user", "content": "Hi", "reasoning_content": None}]
    assert rendered("{{ messages[0].reasoning_content is defined }}", nothing) == "False"


@pytest.mark.parametrize("sign", ["", "-"])
def test_generation_markers_leave_the_text_alone_and_tell_what_is_trained(sign: str) -> None:
    marked = template(f"a{{%{sign} generation {sign}%}}b{{%{sign} endgeneration {sign}%}}c")
    found = marked.render(CHAT)
    assert (found.text, found.trained) == ("abc", "b")
    assert marked.has_generation_markers
    assert not template("{# generation #}{{ add_generation_prompt }}").has_generation_markers


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__.keys() }}",
        "{{ cycler.__init__.__globals__.os.popen('true') }}",
    ],
)
def test_a_template_cannot_reach_out_of_its_sandbox(source: str) -> None:
    with pytest.raises(TemplateFailed, match="SecurityError"):
        rendered(source)
