"""What the paper reports on its own data (AIDSAFE, arXiv 2505.21784, data quality), beside ours.

Its prompts, models and judge differ from ours. Its figures are a landmark, not a target.
"""

from collections.abc import Mapping

from aidsafe_dagster.recipe.records import Metric

METRIC_NAMES: Mapping[Metric, str] = {
    "relevance": "relevance",
    "coherence": "coherence",
    "completeness": "completeness",
    "policy_to_cot": "CoT faithful to policy",
    "policy_to_response": "response faithful to policy",
    "response_to_cot": "response faithful to CoT",
}
"""The six metrics in the paper's words and order."""
VERSION_NAMES: Mapping[str, str] = {
    "single_llm": "single LLM",
    "deliberated": "deliberated",
    "refined": "refined",
}
SINGLE_LLM: Mapping[Metric, float] = {
    "relevance": 4.66,
    "coherence": 4.93,
    "completeness": 4.86,
    "policy_to_cot": 3.85,
    "policy_to_response": 4.85,
    "response_to_cot": 4.99,
}
"""Mean scores of its baseline."""
AIDSAFE: Mapping[Metric, float] = {
    "relevance": 4.68,
    "coherence": 4.96,
    "completeness": 4.92,
    "policy_to_cot": 4.27,
    "policy_to_response": 4.91,
    "response_to_cot": 5.00,
}
"""Mean scores of its refined chains of thought."""
COT_TOKENS: Mapping[str, int] = {"deliberated": 900, "refined": 600}
"""Approximate number of tokens in its chains of thought."""
