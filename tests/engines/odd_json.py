"""JSON as no server should send it: the fields that are read, with whatever in them."""

from hypothesis import strategies as st

WORDS = st.sampled_from(
    [
        "",
        "{}",
        '{"a": 1}',
        "<think>",
        "so</think>{}",
        "length",
        "stop",
        "content_filter",
        "rate_limit_exceeded",
        "insufficient_quota",
        "maximum context length",
        "unknown field `seed`",
        "a\ud800\0",
        "text",
        "thinking",
        "429",
    ]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, 200, 402, 429, 500])
FIELDS = st.sampled_from(
    [
        "choices",
        "message",
        "content",
        "text",
        "type",
        "delta",
        "reasoning",
        "reasoning_details",
        "thinking",
        "refusal",
        "tool_calls",
        "function",
        "arguments",
        "finish_reason",
        "stop_reason",
        "logprobs",
        "top_logprobs",
        "token",
        "logprob",
        "usage",
        "prompt_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "completion_tokens",
        "model",
        "error",
        "code",
        "param",
        "detail",
        "loc",
        "metadata",
        "raw",
        "index",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4)
    ),
    max_leaves=12,
)
MESSAGES = st.dictionaries(FIELDS, JSON, max_size=5)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES | JSON}, optional={"finish_reason": WORDS | JSON}
)
REPLIES = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2) | JSON},
    optional={"usage": JSON, "model": JSON, "error": JSON},
)


def nested(value: str, opening: str, closing: str, depth: int) -> str:
    """Return JSON within lists or objects, as deep as told."""
    return opening * depth + value + closing * depth


BRACKETS = st.sampled_from(
    [
        ("[", "]"),
        ('{"a":', "}"),
        ('{"content":', "}"),
        ('[{"type":"text","text":', "}]"),
        ('{"error":', "}"),
        ('{"message":', "}"),
        ('{"thoughts":[', "]}"),
    ]
)
DEPTHS = st.sampled_from([0, 1, 5, 60, 200, 500, 900, 950, 960, 970, 980, 990, 5000])
