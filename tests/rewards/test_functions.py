"""Rewards, from a judge of known quality over HTTP, with faults, and from the rehearsal's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.rewards import Rewards, Weights, compute_score
from aidsafe_dagster.rewards.functions import _shared
from aidsafe_dagster.settings.load import load_settings
from tests.serving import ModelServer, a_free_port, a_model_server
from tests.site import prepare

PROMPT = "How do I bake bread?"
GOOD = "<think>\nIt is harmless.\n</think>\n\nMix flour and water, and bake it."
# The server's judge finds what begins so against the policies, and a refusal in part.
BAD = "<think>\nIt is settled.\n</think>\n\nWhatever the rules say, take it."
PROMPTS = [PROMPT, PROMPT]


@contextmanager
def rewards_of(
    folder: Path, server: ModelServer, weights: Weights | None = None, **driver: Any
) -> Iterator[Rewards]:
    """Rewards whose judge is at a server."""
    endpoint = {"base_url": server.base_url, "model": "m", "slots": 8}
    prepare(folder, engine="endpoint", endpoint=endpoint, driver=driver)
    rewards = Rewards(load_settings(folder, {}).settings, weights)
    try:
        yield rewards
    finally:
        rewards.close()


def test_each_part_says_what_the_judge_finds(tmp_path: Path) -> None:
    with a_model_server(tmp_path) as server, rewards_of(tmp_path, server) as rewards:
        kinds = ["benign", "benign"]
        assert rewards.safety(PROMPTS, [GOOD, BAD]) == [1.0, 0.0]
        assert rewards.helpfulness(PROMPTS, [GOOD, BAD]) == [1.0, 0.0]
        assert rewards.form(PROMPTS, [GOOD, "Mix it."]) == [1.0, 0.0]
        refusals = rewards.needless_refusal(PROMPTS, [GOOD, BAD], prompt_kind=kinds)
        assert refusals == [0.0, -0.5]


def test_all_parts_together_ask_about_a_completion_once(tmp_path: Path) -> None:
    with a_model_server(tmp_path) as server, rewards_of(tmp_path, server) as rewards:
        for function in rewards.functions:
            function(prompts=PROMPTS * 2, completions=[GOOD, BAD] * 2, step=1)
        assert server.stats()["ok"] == 2


def test_a_completion_that_was_graded_in_an_earlier_run_is_not_asked_about_again(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path) as server:
        for _ in range(2):
            with rewards_of(tmp_path, server) as rewards:
                assert rewards.safety(PROMPTS, [GOOD, BAD]) == [1.0, 0.0]
        assert server.stats()["ok"] == 2


def test_the_weighted_sum_takes_the_weights(tmp_path: Path) -> None:
    weights = Weights(safety=2.0, helpfulness=0.0, form=0.5, needless_refusal=1.0)
    with (
        a_model_server(tmp_path) as server,
        rewards_of(tmp_path, server, weights) as rewards,
    ):
        total = rewards.weighted(PROMPTS, [GOOD, BAD], prompt_kind=["benign"] * 2)
        assert total == [2.5, 0.0]


def test_a_harmful_prompt_may_be_declined(tmp_path: Path) -> None:
    with a_model_server(tmp_path) as server, rewards_of(tmp_path, server) as rewards:
        rewards_of_refusals = rewards.needless_refusal(
            [PROMPT], [BAD], prompt_kind=["harmful"]
        )
        assert rewards_of_refusals == [0.0]


def test_a_completion_without_a_response_is_as_bad_as_one_can_be_and_asks_nobody(
    tmp_path: Path,
) -> None:
    with a_model_server(tmp_path) as server, rewards_of(tmp_path, server) as rewards:
        assert rewards.safety([PROMPT], [""]) == [0.0]
        assert rewards.helpfulness([PROMPT], [""]) == [0.0]
        assert rewards.needless_refusal([PROMPT], [""], prompt_kind=["benign"]) == [
            -1.0
        ]
        assert server.stats().get("ok", 0) == 0


def test_messages_are_taken_as_texts_are(tmp_path: Path) -> None:
    with a_model_server(tmp_path) as server, rewards_of(tmp_path, server) as rewards:
        prompts = [[{"role": "user", "content": PROMPT}]]
        completions = [[{"role": "assistant", "content": GOOD}]]
        assert rewards.safety(prompts, completions) == [1.0]
        assert rewards.safety([PROMPT], [GOOD]) == [1.0]
        assert server.stats()["ok"] == 1


def test_a_judge_s_server_with_faults_gives_the_same_rewards(tmp_path: Path) -> None:
    faults = {"http_503": 0.3, "disconnect": 0.1, "garbage_body": 0.1}
    completions = [f"{GOOD} Step {number}." for number in range(20)]
    with (
        a_model_server(tmp_path, faults=faults) as server,
        rewards_of(tmp_path, server, max_attempts=20, backoff_s=0.01) as rewards,
    ):
        assert rewards.safety([PROMPT] * 20, completions) == [1.0] * 20


def test_a_judge_that_gives_no_valid_answer_gives_no_reward(tmp_path: Path) -> None:
    rules = {
        "server": {"capacity": 8, "prefill_base_s": 0.0, "tpot_s": 0.0},
        "rules": [{"name": "judge", "match": "# Task: grade", "reply": "I like it."}],
    }
    with (
        a_model_server(tmp_path, rules) as server,
        rewards_of(tmp_path, server) as rewards,
    ):
        assert rewards.safety([PROMPT], [GOOD]) == [None]
        assert rewards.weighted([PROMPT], [GOOD]) == [None]
        assert rewards.form([PROMPT], [GOOD]) == [1.0]


def test_a_server_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    port = a_free_port()
    server = ModelServer(f"http://127.0.0.1:{port}")
    with (
        rewards_of(tmp_path, server, first_answer_s=0.5, backoff_s=0.01) as rewards,
        pytest.raises(SetupError, match=str(port)),
    ):
        rewards.safety([PROMPT], [GOOD])


def test_a_score_with_verl_s_signature_has_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_model_server(tmp_path) as server:
        with rewards_of(tmp_path, server):
            pass
        monkeypatch.chdir(tmp_path)
        info = {"prompt": PROMPT, "prompt_kind": "benign"}
        assert compute_score("aidsafe", BAD, None, info) == {
            "score": 0.0,
            "safety": 0.0,
            "helpfulness": 0.0,
            "form": 1.0,
            "needless_refusal": -0.5,
        }
        with pytest.raises(SetupError, match="prompt"):
            compute_score("aidsafe", GOOD, None, {})
        _shared().close()
        _shared.cache_clear()


def test_the_rehearsal_judge_grades_an_answer_without_thoughts(tmp_path: Path) -> None:
    prepare(tmp_path)
    rewards = Rewards(load_settings(tmp_path, {}).settings)
    try:
        (reward,) = rewards.safety([PROMPT], ["I can't help with that."])
    finally:
        rewards.close()
    assert reward is not None
    assert 0.0 <= reward <= 1.0
