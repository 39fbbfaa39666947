"""The records of what is planted: their rates, their file, and how a lake's rows find them."""

import asyncio
import json
import multiprocessing
from collections import Counter
from pathlib import Path

import pytest

from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.rehearsal.faults import (
    THOUGHT_FAULTS,
    Fault,
    RehearsalSettings,
)
from aidsafe_dagster.engines.rehearsal.phrasebook import begins_with, openings, phrases
from aidsafe_dagster.engines.rehearsal.planted import (
    PlantedAnswer,
    PlantedRecords,
    append_planted,
    planted_path,
    read_planted,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Role, Stage
from tests.engines.rehearsal.rehearsing import FAULTLESS, FAULTY, Rehearsal, prompts

SETTINGS = RehearsalSettings()


def an_answer(turn: int = 0, **fields: object) -> PlantedAnswer:
    identity = {
        "model": "rehearsal-1",
        "prompt_id": "p1",
        "stage": Stage.SEED_COTS,
        "role": Role.INITIALIZER,
        "turn": turn,
        "draw": 0,
    }
    return PlantedAnswer.model_validate(identity | fields)


def test_thoughts_are_planted_at_the_rates_of_the_settings() -> None:
    settings = FAULTLESS.model_copy(update={"deceptive": 0.1, "redundant": 0.2})
    rehearsal = Rehearsal(settings)
    rows = rehearsal.deliberations()
    planted = Counter(
        fault for answer in rehearsal.planted for fault in answer.thoughts.values()
    )
    total = sum(thought.round > 0 for row in rows for thought in row.thoughts)
    assert planted[Fault.DECEPTIVE] / total == pytest.approx(0.1, abs=0.03)
    assert planted[Fault.REDUNDANT] / total == pytest.approx(0.2, abs=0.04)
    assert planted.keys() == {Fault.DECEPTIVE, Fault.REDUNDANT}


def test_faults_of_calls_are_planted_at_the_rates_of_the_settings() -> None:
    settings = FAULTLESS.model_copy(update={"unparsable": 0.1, "malformed_once": 0.2})
    rehearsal = Rehearsal(settings)
    for prompt in prompts():
        rehearsal.seed(prompt)
    # A re-ask belongs to the call before.
    decomposed = [answer for answer in rehearsal.planted if answer.turn == 0]
    planted = Counter(fault for answer in decomposed for fault in answer.faults)
    assert planted[Fault.UNPARSABLE] / len(decomposed) == pytest.approx(0.1, abs=0.05)
    assert planted[Fault.MALFORMED_ONCE] / len(decomposed) == pytest.approx(
        0.2, abs=0.06
    )


def test_each_further_draw_plants_a_tenth() -> None:
    assert SETTINGS.rate(Fault.UNPARSABLE, 0) == SETTINGS.unparsable
    assert SETTINGS.rate(Fault.UNPARSABLE, 2) == pytest.approx(
        SETTINGS.unparsable / 100
    )


def test_another_seed_plants_elsewhere() -> None:
    faults = []
    for seed in (0, 1):
        rehearsal = Rehearsal(FAULTY.model_copy(update={"seed": seed}))
        for prompt in prompts()[:50]:
            rehearsal.seed(prompt)
        faults.append(
            [answer.faults for answer in rehearsal.planted if answer.turn == 0]
        )
    assert faults[0] != faults[1]


def test_only_thoughts_of_deliberators_are_planted_and_each_is_recorded_in_its_words() -> (
    None
):
    rehearsal = Rehearsal(FAULTY)
    for row in rehearsal.deliberations(60):
        for thought in row.thoughts:
            fault = rehearsal.records.thought_fault(row.prompt_id, thought.text)
            begins = [
                kind
                for kind in THOUGHT_FAULTS
                if begins_with(thought.text, f"planted.{kind}")
            ]
            assert begins == ([fault] if fault else [])
            assert thought.round or fault is None


def test_the_record_of_an_answer_is_a_function_of_the_request() -> None:
    rehearsal, other = Rehearsal(FAULTY), RehearsalEngine(FAULTY)
    rehearsal.refinements(12)
    again = [other.answer(request)[1] for request in reversed(rehearsal.requests)]
    assert rehearsal.planted == again[::-1]


def test_the_file_holds_a_line_for_every_answer(tmp_path: Path) -> None:
    path = planted_path(tmp_path)
    rehearsal, engine = Rehearsal(FAULTY), RehearsalEngine(FAULTY, path)
    rehearsal.refinements(5)
    for request in rehearsal.requests:
        asyncio.run(engine.complete(request, 0))
    assert list(read_planted(path, engine.model)) == rehearsal.planted
    assert list(read_planted(path, "rehearsal-other")) == []


def test_a_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    assert list(read_planted(planted_path(tmp_path), "rehearsal-1")) == []


def test_a_line_that_was_cut_short_is_skipped(tmp_path: Path) -> None:
    path = planted_path(tmp_path)
    append_planted(path, an_answer(0))
    with path.open("a") as file:
        file.write(
            an_answer(1, thoughts={"süß": "deceptive"}).model_dump_json()[:150] + "\n"
        )
    append_planted(path, an_answer(2))
    assert [answer.turn for answer in read_planted(path, "rehearsal-1")] == [0, 2]


def test_a_file_that_cannot_be_written_names_itself_and_the_remedy(
    tmp_path: Path,
) -> None:
    path = planted_path(tmp_path)
    path.mkdir(parents=True)
    with pytest.raises(SetupError, match=r"planted\.jsonl.*Make room or give access"):
        append_planted(path, an_answer())


def append_many(path: Path, turn: int) -> None:
    for _ in range(50):
        append_planted(path, an_answer(turn, thoughts={"word " * 2_000: "deceptive"}))


def test_processes_that_append_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = planted_path(tmp_path)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=append_many, args=(path, turn)) for turn in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = path.read_text().splitlines()
    assert Counter(json.loads(line)["turn"] for line in lines) == dict.fromkeys(
        range(4), 50
    )


def test_the_first_record_of_a_call_counts_since_an_ablation_asks_later() -> None:
    records = PlantedRecords([an_answer(), an_answer(faults=("unparsable",))])
    assert records.faults("p1", "seed_cots", 1, ()) == ()


def test_a_dialogue_whose_first_call_has_no_record_is_not_recorded() -> None:
    records = PlantedRecords([an_answer(1)])
    assert records.faults("p1", "seed_cots", 2, ()) is None
    assert records.faults("p2", "seed_cots", 2, ()) is None


def test_a_row_drawn_anew_finds_the_records_of_its_last_draw() -> None:
    first = [an_answer(0), an_answer(1, faults=("unparsable",))]
    records = PlantedRecords([*first, an_answer(1, draw=1, faults=("malformed_once",))])
    assert records.faults("p1", "seed_cots", 2, ()) == (Fault.UNPARSABLE,)
    assert records.faults("p1", "seed_cots", 2, (1,)) == (Fault.MALFORMED_ONCE,)


PLANTED_NAMES = [f"planted.{fault}" for fault in THOUGHT_FAULTS]
OTHER_THOUGHTS = [
    "seeds.reading",
    "seeds.policy",
    "seeds.guide",
    "seeds.weigh",
    "seeds.decision",
]


@pytest.mark.parametrize(
    "name", [*PLANTED_NAMES, "over_refusal", "plain.weigh", "misled"]
)
def test_no_other_phrase_begins_like_one_that_is_recognised(name: str) -> None:
    others = [
        other for other in (*PLANTED_NAMES, *OTHER_THOUGHTS, "added") if other != name
    ]
    for opening in openings(name):
        assert len(opening) > 8, opening
        for other in others:
            assert not any(text.startswith(opening) for text in openings(other)), (
                opening
            )


def test_every_stance_has_phrases_wherever_one_has() -> None:
    for name in ("added.rule", "mends.tone", "planted.deceptive", "seeds.response"):
        assert phrases(f"{name}.decline")
        assert phrases(f"{name}.help")
