"""Texts that are word for word the same are judged once, by a real server and journal."""

from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.beliefs import BeliefSearch, BeliefSettings, try_candidates
from aidsafe_dagster.recipe.cot_grades import GradingSettings, Versions, grade_versions
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueTask
from aidsafe_dagster.recipe.records import CotGrades, Stage
from tests.builders import (
    a_cot_grades,
    a_deliberated_cot,
    a_refined_cot,
    a_single_llm_cot,
    a_thought,
)
from tests.engines.driving import drive_over_http
from tests.recipe.scripted_model import (
    a_belief,
    a_dialogue_context,
    a_grade_answer,
    a_preference,
    an_answer,
)
from tests.scripted_chat_server import ScriptedChatServer, a_scripted_chat_server

REFINED = a_refined_cot()
SAME_THOUGHTS = tuple(
    a_thought(number=thought.number, text=thought.text) for thought in REFINED.thoughts
)
DELIBERATED = a_deliberated_cot(thoughts=SAME_THOUGHTS)
ALONE = a_single_llm_cot(response="As one thinks.")
ALONE_AND_THE_SAME = a_single_llm_cot(thoughts=SAME_THOUGHTS)


def judge(body: dict[str, Any]) -> str:
    """Grade by the words that are judged, and prefer what stands first."""
    question = body["messages"][1]["content"]
    if "# Task: grade" not in question:
        return a_preference("first")
    return a_grade_answer(2 if ALONE.response in question else 4)


def grading(versions: Versions, redraws: tuple[int, ...] = ()) -> DialogueTask[Any]:
    conversation = Conversation(
        a_dialogue_context(), Stage.COT_GRADES, versions.refined, redraws
    )
    settings = GradingSettings()
    return DialogueTask(conversation, grade_versions(conversation, versions, settings))


def graded(
    folder: Path, server: ScriptedChatServer, task: DialogueTask[Any]
) -> CotGrades:
    (row,), _ = drive_over_http(folder, server.base_url, [task])
    assert isinstance(row, CotGrades)
    return row


def test_equal_versions_are_graded_once_and_have_the_same_grade(tmp_path: Path) -> None:
    versions = Versions(REFINED, DELIBERATED, ALONE)
    with a_scripted_chat_server(judge) as server:
        row = graded(tmp_path, server, grading(versions))
    scores = {grade.version: grade.policy_to_cot.score for grade in row.grades}
    assert scores == {"refined": 4, "deliberated": 4, "single_llm": 2}
    # Two grades, a comparison in both orders, and one of equal texts, which has no second order.
    assert len(server.requests) == row.usage.calls == 2 + 2 + 1


def test_a_preference_between_equal_texts_is_a_tie(tmp_path: Path) -> None:
    with a_scripted_chat_server(judge) as server:
        row = graded(tmp_path, server, grading(Versions(REFINED, DELIBERATED)))
    (comparison,) = row.comparisons
    assert comparison.outcome == "tie"
    # The judge prefers the first in either order, so it is no judgement of the texts.
    assert not comparison.consistent
    assert len(server.requests) == row.usage.calls == 1 + 1


def test_whichever_of_the_equal_versions_exist_each_question_is_asked_once(
    tmp_path: Path,
) -> None:
    versions = Versions(REFINED, DELIBERATED, ALONE_AND_THE_SAME)
    with a_scripted_chat_server(judge) as server:
        row = graded(tmp_path, server, grading(versions))
    assert [grade.policy_to_cot.score for grade in row.grades] == [4, 4, 4]
    assert len(server.requests) == row.usage.calls == 1 + 1


def test_a_run_that_starts_again_asks_nothing_and_counts_the_same(
    tmp_path: Path,
) -> None:
    versions = Versions(REFINED, DELIBERATED, ALONE)
    with a_scripted_chat_server(judge) as server:
        first = graded(tmp_path, server, grading(versions))
        asked = len(server.requests)
        second = graded(tmp_path, server, grading(versions))
    assert second == first
    assert len(server.requests) == asked


def test_a_row_that_is_drawn_anew_grades_equal_versions_once(tmp_path: Path) -> None:
    versions = Versions(REFINED, DELIBERATED)
    with a_scripted_chat_server(judge) as server:
        graded(tmp_path, server, grading(versions))
        # The second grade would be another draw of the first question.
        row = graded(tmp_path, server, grading(versions, redraws=(1,)))
    assert [grade.policy_to_cot.score for grade in row.grades] == [4, 4]
    # Only the comparison is put again.
    assert len(server.requests) == 2 + 1


def test_an_unusable_grade_of_equal_versions_is_asked_for_three_times_in_all(
    tmp_path: Path,
) -> None:
    def answer(body: dict[str, Any]) -> str:
        question = body["messages"][1]["content"]
        if ALONE.response in question:
            return judge(body)
        return "Quite good, I would say."

    versions = Versions(
        a_refined_cot(response=ALONE.response), DELIBERATED, ALONE_AND_THE_SAME
    )
    with a_scripted_chat_server(answer) as server:
        row = graded(tmp_path, server, grading(versions))
    assert [grade.version for grade in row.grades] == ["refined"]
    ungraded = [one.task for one in row.ungraded if one.task.startswith("grade")]
    assert ungraded == ["grade deliberated", "grade single_llm"]
    # The refined CoT, the two others together, and both orders of the comparison.
    assert len(server.requests) == row.usage.calls == 1 + 3 + 2


def test_candidates_with_the_same_answer_are_graded_once(tmp_path: Path) -> None:
    beliefs = iter(f"Lock number {number} is yours." for number in range(1, 9))

    def answer(body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        if "# Task: grade" in text:
            return a_grade_answer(3)
        if "<belief>" in text:
            return an_answer()
        return a_belief(next(beliefs))

    grades = a_cot_grades()
    conversation = Conversation(a_dialogue_context(), Stage.PREFERENCE_PAIRS, grades)
    search = BeliefSearch(conversation, REFINED, grades, "violation")
    settings = BeliefSettings(candidates=3)
    dialogue = try_candidates(search, 1, (), settings, GradingSettings())
    with a_scripted_chat_server(answer) as server:
        drive_over_http(
            tmp_path, server.base_url, [DialogueTask(conversation, dialogue)]
        )
    assert [candidate.score for candidate in search.candidates] == [3.0, 3.0, 3.0]
    # Three beliefs, three answers of the target, one grade.
    assert len(server.requests) == conversation.usage.calls == 3 + 3 + 1
    # A later call has the seed that it would have with three grades.
    assert conversation.turn == 3 * 3
