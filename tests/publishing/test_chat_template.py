"""Chat templates: where they are loaded from, and that they render as in transformers."""

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
PLAIN = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
)
RENDERED = "<s>user: Hi <b>\nassistant: Yes.\n"
CONFIG = {
    "bos_token": {"content": "<s>"},
    "eos_token": "</s>",
    "pad_token": None,
    "chat_template": PLAIN,
}
UNREACHABLE_HUB = HfApi(endpoint="http://127.0.0.1:9")


def template(source: str, **tokens: str) -> ChatTemplate:
    return ChatTemplate("a template", source, tokens)


def rendered(source: str, chat: Any = CHAT, **options: Any) -> str:
    return template(source).render(chat, **options).text


def write(folder: Path, **files: Any) -> Path:
    """`tokenizer_config_json` stands for tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{stem}.{suffix}").write_text(text)
    return folder


def test_a_tokenizer_folder_gives_template_and_special_tokens(tmp_path: Path) -> None:
    loaded = load_chat_template(
        str(write(tmp_path, tokenizer_config_json=CONFIG)), UNREACHABLE_HUB
    )
    assert loaded.render(CHAT).text == RENDERED
    assert loaded.tokens == {"bos_token": "<s>", "eos_token": "</s>"}


def test_a_template_file_takes_precedence_over_the_configuration(
    tmp_path: Path,
) -> None:
    old = CONFIG | {"chat_template": "old"}
    loaded = load_chat_template(
        str(write(tmp_path, tokenizer_config_json=old, chat_template_jinja=PLAIN)),
        UNREACHABLE_HUB,
    )
    assert loaded.render(CHAT).text == RENDERED


def test_the_default_of_several_templates_is_used(tmp_path: Path) -> None:
    several = [
        {"name": "tool_use", "template": "tools"},
        {"name": "default", "template": PLAIN},
    ]
    write(tmp_path, tokenizer_config_json=CONFIG | {"chat_template": several})
    loaded = load_chat_template(
        str(tmp_path / "tokenizer_config.json"), UNREACHABLE_HUB
    )
    assert loaded.render(CHAT).text == RENDERED


def test_a_template_file_takes_special_tokens_from_its_folder(tmp_path: Path) -> None:
    write(tmp_path, tokenizer_config_json=CONFIG, mine_jinja=PLAIN)
    loaded = load_chat_template(str(tmp_path / "mine.jinja"), UNREACHABLE_HUB)
    assert loaded.render(CHAT).text == RENDERED


def test_a_template_is_downloaded_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_hub(tmp_path) as hub:
        repo = hub.create("model", "acme/model")
        tree = repo.commits[repo.branches["main"]].tree
        tree["tokenizer_config.json"] = hub.blob(json.dumps(CONFIG).encode())
        api = HfApi(endpoint=hub.base, token=TOKEN)
        monkeypatch.setattr(
            "huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache")
        )
        assert load_chat_template("acme/model", api).render(CHAT).text == RENDERED
        with pytest.raises(
            SetupError, match=r"acme/none: .*HTTP 404.*no such"
        ) as raised:
            load_chat_template("acme/none", api)
        assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_config_json": {"bos_token": "<s>"}}, "no chat template"),
        ({"tokenizer_config_json": "[1]"}, "expected a JSON object"),
        ({"tokenizer_config_json": "{"}, "not JSON"),
    ],
)
def test_a_folder_without_a_template_is_an_error_that_names_what_is_missing(
    tmp_path: Path, files: Any, message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        load_chat_template(str(write(tmp_path, **files)), UNREACHABLE_HUB)


def test_an_unknown_place_is_an_error() -> None:
    with pytest.raises(SetupError, match="not a folder, a file or a model"):
        load_chat_template("./nothing/here", UNREACHABLE_HUB)


def test_the_error_of_a_broken_template_names_its_line() -> None:
    with pytest.raises(SetupError, match="a template: line 2: "):
        template("one\n{% if %}").render(CHAT)


def test_json_is_not_escaped_for_html() -> None:
    assert (
        rendered("{{ messages[0] | tojson }}")
        == '{"role": "user", "content": "Hi <b>"}'
    )


def test_a_refusal_quotes_the_template() -> None:
    with pytest.raises(TemplateFailed, match="no assistant first"):
        rendered("{{ raise_exception('no assistant first') }}")


def test_loop_controls_and_the_date_are_available() -> None:
    loop = (
        "{% for m in messages %}"
        "{% if loop.index == 2 %}{% break %}{% endif %}{{ m.role }}"
        "{% endfor %}"
    )
    assert rendered(loop) == "user"
    assert rendered("{{ strftime_now('%Y') }}").isdecimal()


def test_opens_turn_sets_add_generation_prompt() -> None:
    source = "{% if add_generation_prompt %}assistant:{% endif %}"
    assert (rendered(source), rendered(source, opens_turn=True)) == ("", "assistant:")


def test_reasoning_has_both_names_that_templates_read() -> None:
    chat = [{"role": "assistant", "content": "Yes.", "reasoning_content": "Because."}]
    source = "{{ messages[0].reasoning_content }} {{ messages[0].thinking }}"
    assert rendered(source, chat) == "Because. Because."
    nothing = [{"role": "user", "content": "Hi", "reasoning_content": None}]
    assert (
        rendered("{{ messages[0].reasoning_content is defined }}", nothing) == "False"
    )


@pytest.mark.parametrize("trim", ["", "-"])
def test_generation_markers_leave_the_text_alone_and_are_recorded(trim: str) -> None:
    marked = template(
        f"a{{%{trim} generation {trim}%}}b{{%{trim} endgeneration {trim}%}}c"
    )
    rendering = marked.render(CHAT)
    assert (rendering.text, rendering.marked) == ("abc", "b")
    assert marked.has_generation_markers
    assert not template(
        "{# generation #}{{ add_generation_prompt }}"
    ).has_generation_markers


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__.keys() }}",
        "{{ cycler.__init__.__globals__.os.popen('true') }}",
    ],
)
def test_a_template_cannot_escape_its_sandbox(source: str) -> None:
    with pytest.raises(TemplateFailed, match="SecurityError"):
        rendered(source)
