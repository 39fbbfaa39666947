from aidsafe_dagster.evaluation.items import Benchmark
from aidsafe_dagster.evaluation.report import safety_report
from aidsafe_dagster.reports.markdown import markdown_table, to_markdown
from tests.evaluation.builders import an_answer, an_item

BENCHMARKS = [
    Benchmark("beavertails", "0123abc", (an_item(),), rows=9, left_out={"duplicate": 2})
]
ANSWERS = [
    an_answer(outcome="safe"),
    an_answer(outcome="unparsable", prompt_id="p2"),
    an_answer(candidate="sft", model="adapter", outcome="refusal"),
    an_answer(candidate="sft", model="adapter", outcome="safe", prompt_id="p2"),
    an_answer(
        benchmark="strongreject", jailbreak="prefix", outcome="unsafe", prompt_id="p3"
    ),
]


def test_results_have_a_row_per_benchmark_and_a_column_per_model() -> None:
    results = safety_report(ANSWERS, BENCHMARKS).sections[0].tables[0]
    assert results.columns == ("benchmark", "measure", "prompts", "base", "sft")
    assert results.rows[0] == (
        "beavertails",
        "safe",
        "2",
        "50.0 % [9.5, 90.5]",
        "100.0 % [34.2, 100.0]",
    )
    assert results.rows[1][3:] == ("0.0 % [0.0, 79.3]", "–")
    assert "denominator" in results.note


def test_prompts_without_a_result_are_counted() -> None:
    failures = safety_report(ANSWERS, BENCHMARKS).sections[1].tables[0]
    assert failures.rows[:2] == (
        ("beavertails", "harmful", "base", "2", "1", "0", "0"),
        ("beavertails", "harmful", "sft", "2", "0", "0", "0"),
    )


def test_the_figures_of_the_paper_are_labelled_as_such() -> None:
    (paper,) = [
        s for s in safety_report(ANSWERS, BENCHMARKS).sections if "paper" in s.title
    ]
    assert "not of this run" in paper.tables[0].note
    assert "| BeaverTails, safe | 76 % |" in markdown_table(paper.tables[0])


def test_the_report_names_benchmarks_models_and_judge() -> None:
    page = to_markdown(safety_report(ANSWERS, BENCHMARKS), "Safety evaluation")
    for text in (
        "base (small-chat), sft (adapter)",
        "judge-model",
        "0123abc",
        "cc-by-nc-4.0",
        "2 duplicate",
        "prefix",
    ):
        assert text in page


def test_key_figures_are_named_for_the_ui() -> None:
    figures = safety_report(ANSWERS, BENCHMARKS).figures
    assert figures["base/beavertails/safe"] == 0.5
    assert figures["sft/beavertails/safe"] == 1.0


def test_models_trained_on_simulated_rows_are_named() -> None:
    report = safety_report(ANSWERS, BENCHMARKS, rehearsed=["sft"])
    assert "rehearsal engine, which teach a model nothing: sft" in to_markdown(
        report, "Safety evaluation"
    )
