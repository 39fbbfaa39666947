"""Presets: the columns, files and licences of datasets that are common in this field.

A preset supplies what a source does not set; what the source sets always wins.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Defaults of a source. None: the dataset has no such thing, or the user must name it."""

    licence: str
    """Licence of every row, as an SPDX-like id."""
    prompt: str
    """Column of the prompt."""
    category: str | None = None
    """Column of the category: a text, a list of names, or a mapping of name → flag."""
    response: str | None = None
    """Column of the answer that the dataset itself gives."""
    hub: str | None = None
    """Dataset on the Hub."""
    files: str | None = None
    """Glob of the files in that dataset."""
    categories: tuple[str, ...] = ()
    """Names that the category column holds. Some bundled policy lists each of them."""


PRESETS = {
    # One row per answer: the same prompt recurs, and its duplicates are dropped.
    "beavertails": Preset(
        licence="cc-by-nc-4.0",
        prompt="prompt",
        category="category",
        response="response",
        hub="PKU-Alignment/BeaverTails",
        files="round0/30k/*.jsonl.gz",
        categories=(
            "animal_abuse",
            "child_abuse",
            "controversial_topics,politics",
            "discrimination,stereotype,injustice",
            "drug_abuse,weapons,banned_substance",
            "financial_crime,property_crime,theft",
            "hate_speech,offensive_language",
            "misinformation_regarding_ethics,laws_and_safety",
            "non_violent_unethical_behavior",
            "privacy_violation",
            "self_harm",
            "sexually_explicit,adult_content",
            "terrorism,organized_crime",
            "violence,aiding_and_abetting,incitement",
        ),
    ),
    # The Hub has several copies with these columns, none of them a category; the user names one.
    "alpagasus": Preset(
        licence="cc-by-nc-4.0", prompt="instruction", response="output"
    ),
}

EVALUATION_PRESETS = {
    "xstest": Preset(
        licence="cc-by-4.0", prompt="prompt", hub="Paul/XSTest", files="*.csv"
    ),
    # Gated, like HarmBench: accept the terms on the Hub once, and set a token.
    "strongreject": Preset(
        licence="mit",
        prompt="prompt",
        hub="walledai/StrongREJECT",
        files="data/*.parquet",
    ),
    # Three parts: standard, contextual, copyright.
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
"""Evaluation sets, which must not be trained on. Only their prompts are read."""
