"""Shapes of datasets that are usual for this recipe, so that nobody has to look up their columns.

A preset fills in what a source leaves unsaid; what the source says always wins.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Defaults of a source. None: the dataset has no such thing, or the user has to name it."""

    licence: str
    """Licence of every row, as an SPDX-like id."""
    prompt: str
    """Column of the prompt."""
    category: str | None = None
    """Column of the category: text, a list of names, or a mapping of name → flag."""
    hub: str | None = None
    """Dataset on the Hub."""
    files: str | None = None
    """Glob of the files in that dataset."""


PRESETS = {
    # One row per answer, so the same prompt comes back several times: duplicates are usual and dropped.
    "beavertails": Preset(
        licence="cc-by-nc-4.0",
        prompt="prompt",
        category="category",
        hub="PKU-Alignment/BeaverTails",
        files="round0/30k/*.jsonl.gz",
    ),
    # There are several copies with this shape on the Hub; which of them is the user's choice.
    "alpagasus": Preset(licence="cc-by-nc-4.0", prompt="instruction"),
}

EVALUATION_PRESETS = {
    "xstest": Preset(licence="cc-by-4.0", prompt="prompt", hub="Paul/XSTest", files="*.csv"),
    # Gated, as is HarmBench: accept the terms on the Hub once, and have a token.
    "strongreject": Preset(
        licence="mit", prompt="prompt", hub="walledai/StrongREJECT", files="data/*.parquet"
    ),
    # Its three parts: standard, contextual, copyright.
    "harmbench": Preset(
        licence="mit", prompt="prompt", hub="walledai/HarmBench", files="*.parquet"
    ),
    # The harmful behaviours and their benign counterparts.
    "jailbreakbench": Preset(
        licence="mit",
        prompt="Goal",
        hub="JailbreakBench/JBB-Behaviors",
        files="data/*-behaviors.csv",
    ),
    "beavertails_evaluation": Preset(
        licence="cc-by-nc-4.0",
        prompt="prompt",
        hub="PKU-Alignment/BeaverTails-Evaluation",
        files="v1/test.jsonl*",
    ),
}
"""Evaluation sets that nothing may be trained on. What is read is their prompts alone."""
