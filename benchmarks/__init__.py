"""Benchmarks against a simulated model server: how much of its capacity is used, and at what cost.

    python -m benchmarks                      all of them (about an hour)
    python -m benchmarks driver --rows 100    one of them, smaller

The results go to benchmarks/RESULTS.md.

The server (`tests/model_server.py`) is a process of its own. It behaves like continuous batching:
it works on a fixed number of calls at a time, each for as long as its tokens take. No figure here
says anything about a model or a GPU. The baseline is what one writes in an afternoon (`plain.py`).
"""
