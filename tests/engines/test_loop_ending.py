"""Answers that loop, over real HTTP: ended while they are written, and asked for again."""

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.driver.driver import Driver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.protocol import ErrorKind, RequestRejected, RetryableError
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.engines.vllm.engine import VLLMEngine
from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.recipe.answers import AnswerBounds, AnswerFormat, InitializerAnswer
from aidsafe_dagster.recipe.bad_text import BadTextSettings
from aidsafe_dagster.recipe.dialogue import (
    Completion,
    Conversation,
    Dialogue,
    DialogueTask,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Failure, FailureReason, Role, Stage
from tests.builders import a_prompt
from tests.engines.completing import an_engine, complete, outcomes
from tests.engines.streams import Stream, a_stream_server, spoken
from tests.engines.test_journal import a_request
from tests.recipe.scripted_model import a_dialogue_context

REQUEST = replace(a_request(), end_loops=True)
SENTENCE = "The user may well be in danger, and help is near at hand. "
LONG_LOOP = json.dumps({"response": SENTENCE * 200})
GOOD = {
    "thoughts": [
        {"thought": "A lost key is an everyday nuisance.", "rules": []},
        {"thought": "A locksmith asks for proof of address.", "rules": []},
    ],
    "response": "Call a locksmith and have a bill with your address at hand.",
}


def ask_for(
    folder: Path,
    base_url: str,
    prompt: str = "How do I get back into my flat?",
    bounds: AnswerBounds | None = None,
    checks: BadTextSettings | None = None,
    **settings: Any,
) -> tuple[Any, Progress, list[Completion]]:
    """Ask the initializer; return its answer or the failure, the progress and the journal."""
    context = a_dialogue_context(
        bounds=bounds or AnswerBounds(), bad_text=checks or BadTextSettings()
    )
    conversation = Conversation(context, Stage.SEED_COTS, a_prompt(prompt=prompt))
    answer_format = AnswerFormat(InitializerAnswer, {"rules": ("a.1",)}, {})

    def dialogue() -> Dialogue[InitializerAnswer]:
        return (
            yield from conversation.ask(Role.INITIALIZER, prompt, answer_format, None)
        )

    async def run(journal: Journal) -> Any:
        # On loopback, 'auto' soon streams no more.
        engine = an_engine(base_url, **({"end_loops": "stream"} | settings))
        driver = Driver(engine, journal, DriverSettings(backoff_s=0.001))
        try:
            tasks = [DialogueTask(conversation, dialogue())]
            (result,) = await driver.drive(tasks, progress)
            return result
        finally:
            await driver.close()
            await engine.close()

    progress = Progress(1)
    with closing(Journal(f"sqlite:///{folder / 'journal.sqlite'}")) as journal:
        result = asyncio.run(run(journal))
        keys = journal._connection.exec_driver_sql(
            "SELECT key FROM completions ORDER BY turn"
        )
        completions = [journal.find(key) for (key,) in keys.all()]
    return result, progress, [found for found in completions if found]


def test_a_looping_answer_is_left_long_before_its_end() -> None:
    with a_stream_server(lambda _: Stream(spoken(LONG_LOOP), wait_s=0.002)) as server:
        completion = complete(server.base_url, request=REQUEST)
    (written,) = server.written
    assert written < len(spoken(LONG_LOOP)) / 2
    assert "'the user may well be in danger and help is near at'" in (
        completion.ended_early
    )


def test_its_tokens_are_estimated_where_the_server_has_not_counted_them() -> None:
    with a_stream_server(lambda _: Stream(spoken(LONG_LOOP), wait_s=0.001)) as server:
        usage = complete(server.base_url, request=REQUEST).usage
    assert usage.calls == 1
    assert 20 < usage.completion_tokens < len(spoken(LONG_LOOP))
    assert usage.prompt_tokens > 0


def test_a_whole_stream_gives_what_a_whole_reply_gives() -> None:
    stream = Stream(
        [
            *spoken("So 思考 it goes.", 3, "reasoning_content"),
            *spoken('{"a": "é思"}', 2),
        ]
    )
    with a_stream_server(lambda _: stream) as server:
        streamed = complete(server.base_url, request=REQUEST, reasoning="keep")
        whole = complete(
            server.base_url, request=REQUEST, reasoning="keep", end_loops="off"
        )
    assert ["stream" in body for body in server.bodies] == [True, False]
    assert server.bodies[0]["stream_options"] == {"include_usage": True}
    assert streamed == whole
    assert streamed.reasoning == "So 思考 it goes."


@pytest.mark.parametrize(
    ("stream", "error", "words"),
    [
        (Stream(spoken("{"), finish="length"), RetryableError, "was cut"),
        (Stream(spoken("{"), finish=None), RetryableError, "broke off"),
        (Stream([]), RetryableError, "is empty"),
        (Stream(spoken("{"), finish="content_filter"), RequestRejected, "filter"),
        (
            Stream(spoken("{"), last={"error": {"message": "no money", "code": 402}}),
            SetupError,
            "no money",
        ),
        (
            Stream(spoken("{"), last={"error": {"message": "busy", "code": 429}}),
            RetryableError,
            "busy",
        ),
        (
            Stream(spoken("Hm.", field_name="reasoning"), finish="length"),
            RequestRejected,
            "before an answer began",
        ),
    ],
)
def test_a_stream_means_what_the_same_reply_means(
    stream: Stream, error: type[Exception], words: str
) -> None:
    with a_stream_server(lambda _: stream) as server, pytest.raises(error, match=words):
        complete(server.base_url, request=REQUEST)
    assert len(server.bodies) == 1


def test_a_stream_that_is_cut_is_a_lost_connection() -> None:
    stream = Stream(spoken('{"response": "I'), ends_properly=False)
    with (
        a_stream_server(lambda _: stream) as server,
        pytest.raises(RetryableError) as raised,
    ):
        complete(server.base_url, request=REQUEST)
    assert raised.value.kind is ErrorKind.UNAVAILABLE


def test_an_answer_in_the_arguments_of_a_tool_is_found_in_a_stream() -> None:
    calls = [
        {
            "tool_calls": [
                {"index": 0, "function": {"name": "answer", "arguments": piece}}
            ]
        }
        for piece in ('{"a"', ": 1}")
    ]
    with a_stream_server(lambda _: Stream(calls)) as server:
        assert complete(server.base_url, request=REQUEST).text == '{"a": 1}'


def test_a_block_of_reasoning_is_taken_out_of_a_stream() -> None:
    stream = Stream(spoken("<think>Hm, so.</think>{}", 4))
    with a_stream_server(lambda _: stream) as server:
        completion = complete(server.base_url, request=REQUEST, reasoning="keep")
    assert (completion.text, completion.reasoning) == ("{}", "Hm, so.")


def test_reasoning_that_goes_round_in_circles_is_left() -> None:
    circles = spoken(SENTENCE * 200, field_name="reasoning_content")
    with a_stream_server(lambda _: Stream(circles, wait_s=0.001)) as server:
        completion = complete(server.base_url, request=REQUEST)
    assert server.written[0] < len(circles) / 2
    assert completion.ended_early
    assert completion.text.startswith(SENTENCE)


@pytest.mark.parametrize(
    "loop",
    [
        pytest.param('{"response": "' + "ha" * 3000, id="characters"),
        pytest.param('{"response": "' + "他说他不能帮助用户。" * 300, id="unspaced"),
        pytest.param('{"response": ' + " \n" * 2000, id="white space"),
        pytest.param(
            '{"thoughts": [' + json.dumps({"thought": SENTENCE * 2}) * 100,
            id="the same thought",
        ),
        pytest.param(
            '{"thoughts": ['
            + json.dumps({"thought": "The sea is a vast place.", "rules": []}) * 60,
            id="the same short thought",
        ),
        pytest.param(
            json.dumps({"response": "नमस्ते, यह मदद है। " * 300}), id="escaped characters"
        ),
        pytest.param("I cannot help. " * 500, id="prose in place of JSON"),
    ],
)
def test_loops_of_all_kinds_are_left(loop: str) -> None:
    with a_stream_server(lambda _: Stream(spoken(loop), wait_s=0.001)) as server:
        assert complete(server.base_url, request=REQUEST).ended_early
    assert server.written[0] < len(spoken(loop)) * 0.8


TABLE = "| step | who | when |\n|---|---|---|\n" + "".join(
    f"| {number} | {'nurse' if number % 2 else 'doctor'} | at {number} o'clock |\n"
    for number in range(60)
)
CODE = "".join(f"    if name == 'n{n}':\n        return value_{n}\n" for n in range(60))
REFRAIN = "".join(
    f"Verse {number}: {word} goes the wheel of the cart on the hill today.\n"
    "Row, row, row your boat, gently down the stream.\n"
    for number, word in enumerate(["round", "slowly", "swiftly", "never", "always"])
)
JUDGEMENTS = json.dumps(
    {"judgements": [{"verdict": "keep", "reason": "It adds a point."}] * 48}
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps({"response": TABLE}), id="table"),
        pytest.param(json.dumps({"response": CODE}), id="code"),
        pytest.param(json.dumps({"response": REFRAIN}), id="refrain"),
        pytest.param(json.dumps({"response": "0" * 300}), id="digits"),
        pytest.param(JUDGEMENTS, id="judgements with one reason"),
        pytest.param(f"<think>Keep all.</think>{JUDGEMENTS}", id="after reasoning"),
    ],
)
def test_good_texts_that_repeat_are_read_to_the_end(text: str) -> None:
    with a_stream_server(lambda _: Stream(spoken(text))) as server:
        completion = complete(server.base_url, request=REQUEST)
    assert completion.ended_early == ""
    assert server.written == [len(spoken(text))]


def test_a_looping_answer_is_recorded_and_asked_for_again(tmp_path: Path) -> None:
    answers = [LONG_LOOP, json.dumps(GOOD)]

    def script(_: Any) -> Stream:
        return Stream(spoken(answers[len(server.bodies) - 1]), wait_s=0.001)

    with a_stream_server(script) as server:
        result, progress, recorded = ask_for(tmp_path, server.base_url)
    assert result.response == GOOD["response"]
    assert (progress.calls_made, progress.retries) == (2, 0)
    assert [bool(completion.ended_early) for completion in recorded] == [True, False]
    *_, answer, question = server.bodies[1]["messages"]
    assert "it was ended, because it repeats 'the user may well" in question["content"]
    # The loop itself would only be gone on with.
    assert len(answer["content"]) <= 300


def test_a_row_that_only_loops_fails_as_bad_text(tmp_path: Path) -> None:
    with a_stream_server(lambda _: Stream(spoken(LONG_LOOP))) as server:
        result, progress, _ = ask_for(tmp_path, server.base_url)
    assert isinstance(result, Failure)
    assert result.reason is FailureReason.BAD_TEXT
    assert (len(server.bodies), progress.calls_made) == (3, 3)
    assert result.usage.completion_tokens == progress.usage.completion_tokens > 0


def test_a_recorded_loop_is_replayed_as_one(tmp_path: Path) -> None:
    with a_stream_server(lambda _: Stream(spoken(LONG_LOOP))) as server:
        first, _, _ = ask_for(tmp_path, server.base_url)
        again, progress, _ = ask_for(tmp_path, server.base_url, end_loops="off")
    assert again == first
    assert (progress.calls_made, len(server.bodies)) == (0, 3)


@pytest.mark.parametrize(
    ("prompt", "checks"),
    [
        ("Repeat this: " + "I am here for you today, my dear old friend. " * 8, None),
        ("Why?", BadTextSettings(reject_loops=False)),
    ],
    ids=["the prompt loops", "loops are allowed"],
)
def test_a_loop_that_is_no_fault_is_not_ended(
    tmp_path: Path, prompt: str, checks: BadTextSettings | None
) -> None:
    answer = GOOD | {"response": SENTENCE * 20}
    with a_stream_server(lambda _: Stream(spoken(json.dumps(answer)))) as server:
        result, _, _ = ask_for(tmp_path, server.base_url, prompt, checks=checks)
    assert result.response == (SENTENCE * 20).strip()
    assert "stream" not in server.bodies[0]


def test_candidates_and_classifiers_are_never_streamed() -> None:
    requests = [
        replace(REQUEST, role=Role.CANDIDATE),
        replace(REQUEST, role=Role.GUARD, labels=("Yes", "No")),
        a_request(),
    ]
    with a_stream_server(lambda _: Stream(spoken('{"Yes": 1}'))) as server:
        outcomes(server.base_url, requests)
    assert all("stream" not in body for body in server.bodies)


@pytest.mark.parametrize(
    "message",
    ["Unknown field: stream_options", "Bad request", "streaming is not supported"],
)
def test_a_server_that_refuses_streams_is_asked_for_whole_answers(message: str) -> None:
    def script(body: dict[str, Any]) -> Any:
        if "stream" in body:
            return 400, {"error": {"message": message}}
        return Stream(spoken("{}"))

    with a_stream_server(script) as server:
        results = outcomes(server.base_url, [REQUEST] * 3)
    assert [getattr(result, "text", result) for result in results] == ["{}"] * 3
    assert ["stream" in body for body in server.bodies] == [True, False, False, False]


def test_a_refusal_that_is_not_about_the_stream_stays_what_it_is() -> None:
    refusal = 400, {"error": {"message": "Unsupported parameter: 'seed'"}}
    with (
        a_stream_server(lambda _: refusal) as server,
        pytest.raises(SetupError, match=r'omit = \["seed"\]'),
    ):
        complete(server.base_url, request=REQUEST)


def test_a_server_that_counts_no_tokens_in_streams_is_asked_for_whole_answers() -> None:
    def script(body: dict[str, Any]) -> Stream:
        stream = Stream(spoken("{}"))
        return replace(stream, usage=None) if "stream" in body else stream

    with a_stream_server(script) as server:
        _, second = outcomes(server.base_url, [REQUEST] * 2)
    assert isinstance(second, Completion)
    assert second.usage.completion_tokens == 5
    assert ["stream" in body for body in server.bodies] == [True, False]


def test_a_fast_server_is_not_streamed_from_for_long() -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 1_000_000}
    with a_stream_server(lambda _: Stream(spoken("{}"), usage=usage)) as server:
        outcomes(server.base_url, [REQUEST] * 2)
        outcomes(server.base_url, [REQUEST] * 2, end_loops="stream")
    streamed = ["stream" in body for body in server.bodies]
    assert streamed == [True, False, True, True]


def test_vllm_is_told_to_look_for_repetitions_itself() -> None:
    with a_stream_server(lambda _: Stream(spoken("{}"))) as server:
        outcomes(
            server.base_url, [REQUEST, a_request()], profile="vllm", end_loops="server"
        )
    asked, plain = server.bodies
    assert asked["repetition_detection"]["min_count"] >= 5
    assert "stream" not in asked
    assert "repetition_detection" not in plain


def test_a_server_that_refuses_to_look_for_repetitions_says_what_to_set() -> None:
    refusal = 400, {"error": {"message": "Unknown field: repetition_detection"}}
    with (
        a_stream_server(lambda _: refusal) as server,
        pytest.raises(SetupError, match='set end_loops = "stream" in'),
    ):
        complete(server.base_url, request=REQUEST, end_loops="server")


def test_the_managed_server_looks_for_repetitions_unless_the_settings_say_otherwise() -> (
    None
):
    managed = VLLMEngine(VLLMSettings(model="m"), EndpointSettings())
    assert managed.settings.served(EndpointSettings()).end_loops == "server"
    assert managed.settings.served(EndpointSettings(end_loops="off")).end_loops == "off"


def test_what_vllm_ended_for_a_loop_is_one() -> None:
    stream = Stream(spoken(LONG_LOOP[:700]), finish="repetition")
    with a_stream_server(lambda _: stream) as server:
        completion = complete(server.base_url, request=REQUEST, end_loops="server")
    assert completion.ended_early.startswith("repeats 'the user may well")
    assert completion.usage.completion_tokens == 5
    assert len(server.bodies) == 1


def test_what_vllm_ended_for_a_loop_that_is_none_is_written_to_its_end() -> None:
    def script(body: dict[str, Any]) -> Stream:
        if "repetition_detection" in body:
            return Stream(spoken(JUDGEMENTS[:800]), finish="repetition")
        return Stream(spoken(JUDGEMENTS))

    with a_stream_server(script) as server:
        completion = complete(server.base_url, request=REQUEST, end_loops="server")
    assert (completion.text, completion.ended_early) == (JUDGEMENTS, "")
    # Both were paid for.
    assert completion.usage.completion_tokens == 10


def test_a_text_that_ends_at_its_bound_is_asked_for_again_then_fails(
    tmp_path: Path,
) -> None:
    words = "a b c d e f g h i j k l m n o p q r s t u v w x y z "
    bound = 240
    answer = GOOD | {"response": (words * 9)[: bound - 1] + "."}
    with a_stream_server(lambda _: Stream(spoken(json.dumps(answer)))) as server:
        result, _, _ = ask_for(
            tmp_path,
            server.base_url,
            bounds=AnswerBounds(response_chars=bound),
            checks=BadTextSettings(reject_loops=False),
        )
    assert isinstance(result, Failure)
    assert result.reason is FailureReason.BAD_TEXT
    assert "it is cut at 240 characters" in result.detail
    assert len(server.bodies) == 3
    assert "cut at 240 characters" in server.bodies[1]["messages"][-1]["content"]


def test_as_many_thoughts_as_there_may_be_are_no_cut_answer(tmp_path: Path) -> None:
    with a_stream_server(lambda _: Stream(spoken(json.dumps(GOOD)))) as server:
        result, _, _ = ask_for(
            tmp_path, server.base_url, bounds=AnswerBounds(thoughts=2)
        )
    assert len(result.thoughts) == 2
    assert len(server.bodies) == 1
