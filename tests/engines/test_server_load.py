import pytest

from aidsafe_dagster.engines.server_load import ServerLoad


def a_page(
    running: int, waiting: int, generated: int, hits: int = 0, queries: int = 0
) -> str:
    return (
        "# HELP vllm:num_requests_running Number of requests\n"
        f'vllm:num_requests_running{{engine="0",model_name="m"}} {running}.0\n'
        f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}.0\n'
        f'vllm:generation_tokens_total{{engine="0",model_name="m"}} {generated}.0\n'
        f'vllm:generation_tokens_created{{engine="0",model_name="m"}} 1.7e+09\n'
        f'vllm:prefix_cache_hits_total{{engine="0"}} {hits}\n'
        f'vllm:prefix_cache_queries_total{{engine="0"}} {queries}\n'
    )


def test_shares_follow_from_the_growth_of_the_counters() -> None:
    load = ServerLoad()
    load.add_sample(a_page(3, 1, generated=1000, hits=50, queries=100))
    load.add_sample(a_page(4, 0, generated=1600, hits=140, queries=200))
    assert load.grown["generation_tokens_total"] == 600
    assert load.prefix_share == pytest.approx(0.9)
    assert load.queue_share == pytest.approx(1 / 8)


def test_the_engines_of_a_server_add_up() -> None:
    load = ServerLoad()
    load.add_sample(
        a_page(3, 0, 0) + a_page(5, 0, 0).replace('engine="0"', 'engine="1"')
    )
    assert load.running == [8.0]


def test_counters_go_on_after_a_restart_of_the_server() -> None:
    load = ServerLoad()
    for generated in (1000, 1500, 200):
        load.add_sample(a_page(1, 0, generated))
    assert load.grown["generation_tokens_total"] == 700


def test_a_page_of_another_kind_gives_no_sample() -> None:
    load = ServerLoad()
    load.add_sample("<html>not found</html>")
    assert load.at_s == []
    assert (load.seconds, load.tokens_per_second) == (0.0, 0.0)
    assert load.prefix_share is None


def a_llamacpp_page(processing: int, deferred: int, predicted: int) -> str:
    return (
        "# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.\n"
        "# TYPE llamacpp:prompt_tokens_total counter\n"
        f"llamacpp:prompt_tokens_total {10 * predicted}\n"
        f"llamacpp:tokens_predicted_total {predicted}\n"
        "llamacpp:predicted_tokens_seconds -nan\n"
        f"llamacpp:requests_processing {processing}\n"
        f"llamacpp:requests_deferred {deferred}\n"
    )


def test_the_figures_of_llama_cpp_stand_for_vllm_s() -> None:
    load = ServerLoad()
    load.add_sample(a_llamacpp_page(3, 1, predicted=100))
    load.add_sample(a_llamacpp_page(4, 0, predicted=150))
    assert (load.running, load.waiting) == ([3.0, 4.0], [1.0, 0.0])
    assert load.grown["generation_tokens_total"] == 50
    assert load.grown["prompt_tokens_total"] == 500
    # It does not tell how much of a prompt its cache held.
    assert load.prefix_share is None
