"""The parsers of replies and answers, fed with anything: they know no other errors than ours."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aidsafe_dagster.engines.chat_reply import (
    NoLoop,
    completion_of,
    ended_completion,
    parse_body,
)
from aidsafe_dagster.engines.chat_stream import ChatStream
from aidsafe_dagster.engines.error_reply import error_in, read_error
from aidsafe_dagster.engines.protocol import RequestRejected, RetryableError
from aidsafe_dagster.engines.remedies import Sent
from aidsafe_dagster.engines.reply_errors import fault_of
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.recipe.answers import (
    AnswerFormat,
    DeliberatorAnswer,
    GradeAnswer,
    InitializerAnswer,
    IntentDecomposerAnswer,
    ModeratorAnswer,
    NotAnAnswer,
    RefinerAnswer,
    ScoreAnswer,
)
from tests.engines.odd_json import (
    BRACKETS,
    DEPTHS,
    FIELDS,
    JSON,
    REPLIES,
    WORDS,
    nested,
)
from tests.engines.test_journal import a_request

SETTINGS = EndpointSettings(base_url="http://x/v1", model="m", reasoning="keep")
MANY = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
CHOICES: dict[str, Any] = {"rules": ("fraud.1", "fraud.2"), "policies": ("fraud",)}
CHOICES |= {"rules or none": ("fraud.1", "none")}
FORMATS = [
    AnswerFormat[Any](model, CHOICES, {"thoughts": 2, "agents": 2})
    for model in (
        DeliberatorAnswer,
        GradeAnswer,
        InitializerAnswer,
        IntentDecomposerAnswer,
        ModeratorAnswer,
        RefinerAnswer,
        ScoreAnswer,
    )
]


def read_reply(body: bytes, status: int = 200) -> None:
    """Read a body as the engine does. Other errors than the documented ones come out."""
    reply = parse_body(body)
    error_body = reply if status != 200 else error_in(reply)
    if error_body is not None:
        error = read_error(status, error_body)
        fault_of(error, None, Sent(SETTINGS, ("seed",), "[endpoint]"))
        error.detail.encode()
    if isinstance(reply, str):
        return
    for request in (
        a_request(),
        a_request(labels=("Yes", "No")),
        a_request(schema={"type": "object", "required": ["thought"]}),
    ):
        with suppress(RetryableError, RequestRejected, NoLoop):
            completion = completion_of(reply, request, 0, SETTINGS)
            (completion.text + completion.reasoning + completion.model).encode()


@MANY
@given(body=st.binary(max_size=400), status=st.sampled_from([200, 400, 500]))
def test_any_bytes_are_read(body: bytes, status: int) -> None:
    read_reply(body, status)


@MANY
@example(reply={"error": {"message": "a\ud800\0", "code": "\ud800"}}, status=400)
@given(reply=REPLIES | JSON, status=st.sampled_from([200, 401, 429]))
def test_any_json_is_read(reply: Any, status: int) -> None:
    read_reply(json.dumps(reply).encode(), status)


@MANY
@given(value=JSON, brackets=BRACKETS, depth=DEPTHS, field=FIELDS, status=st.booleans())
def test_json_of_any_depth_is_read(
    value: Any, brackets: tuple[str, str], depth: int, field: str, status: bool
) -> None:
    deep = nested(json.dumps(value), *brackets, depth)
    choice = f'{{"message": {{"{field}": {deep}}}, "{field}": {deep}}}'
    for text in (deep, f'{{"choices": [{choice}], "{field}": {deep}}}'):
        read_reply(text.encode(), 200 if status else 422)


EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "delta": st.dictionaries(FIELDS, JSON, max_size=4) | JSON,
                    "finish_reason": WORDS | JSON,
                    "logprobs": st.dictionaries(FIELDS, JSON, max_size=2) | JSON,
                    "index": JSON,
                    "error": JSON,
                },
            )
            | JSON,
            max_size=2,
        )
        | JSON,
        "usage": JSON,
        "model": JSON,
        "error": JSON,
    },
)
LINES = EVENTS.map(lambda event: f"data: {json.dumps(event)}") | st.sampled_from(
    ["", ": ping", "data: [DONE]", "data:", "event: x", "data: {", 'data: "x"']
)
STREAMS = st.lists(LINES, max_size=8).map(lambda lines: "\n\n".join(lines).encode())


@MANY
@given(body=STREAMS, cut=st.integers(1, 40))
def test_a_stream_is_read_alike_wherever_it_is_cut(body: bytes, cut: int) -> None:
    read_reply(body)
    whole, pieces = ChatStream(ends_loops=True), ChatStream(ends_loops=True)
    whole.feed(body)
    for start in range(0, len(body), cut):
        pieces.feed(body[start : start + cut])
    # NaN equals nothing, itself included.
    assert repr(whole.reply()) == repr(pieces.reply())
    with suppress(RetryableError, RequestRejected):
        ended_completion(whole, a_request(), SETTINGS, "a loop")


def read_answer(text: str) -> None:
    for answer_format in FORMATS:
        with suppress(NotAnAnswer):
            answer_format.parse(text)


@MANY
@given(text=st.text(max_size=200) | st.binary(max_size=200).map(repr))
def test_any_text_is_an_answer_or_none(text: str) -> None:
    read_answer(text)
    read_answer('{"thoughts": ' + text + "}")


ANSWER_FIELDS = st.sampled_from(
    [
        *("thought", "thoughts", "rules", "response", "comment", "verdict", "reason"),
        *("judgements", "score", "origins", "intents", "author", "relevance"),
    ]
)
ANSWERS = st.recursive(
    JSON | st.sampled_from(["fraud.1", "keep", "agree", "none", 1, -1, 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(ANSWER_FIELDS, inner, max_size=5)
    ),
    max_leaves=15,
)


@MANY
@given(value=ANSWERS, around=st.sampled_from(["", "So: ", "```json\n", "<think>{"]))
def test_any_json_is_an_answer_or_none(value: Any, around: str) -> None:
    read_answer(around + json.dumps(value))


@pytest.mark.parametrize("field", ["thoughts", "response", "score", "reason"])
@settings(max_examples=25, deadline=None)
@given(value=ANSWERS, brackets=BRACKETS, depth=DEPTHS)
def test_json_of_any_depth_is_an_answer_or_none(
    field: str, value: Any, brackets: tuple[str, str], depth: int
) -> None:
    deep = nested(json.dumps(value), *brackets, depth)
    read_answer(deep)
    read_answer(f'{{"{field}": {deep}, "verdict": "agree"}}')
