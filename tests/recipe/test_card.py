"""The dataset card: what its metadata says, and that no text of anybody breaks out of it."""

from typing import Any

import pytest
import yaml

from aidsafe_dagster.publishing.release import TEMPLATE
from aidsafe_dagster.recipe.card import CardFacts, render_card
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.formats import FORMATS
from tests.builders import policies

NASTY = (
    "x | y\n\n# Owned\n---\nlicense: mit\n<script>alert(1)</script> ![a](http://b) `c` "
    "{{ facts }} \u2028 \x85 \x9b"
)


def facts(**changes: Any) -> CardFacts:
    splits = ({"split": "train", "rows": 900, "files": "data/sft/train-*.parquet"},)
    values: dict[str, Any] = {
        "repo": "acme/cot",
        "pretty_name": "Acme CoT",
        "version": "0123456789ab",
        "simulated": False,
        "licence": "cc-by-nc-4.0",
        "hub_licence": "cc-by-nc-4.0",
        "licence_link": "",
        "language": ("en",),
        "tags": ("safety",),
        "gating": {
            "mode": "auto",
            "prompt": "Agree?",
            "fields": {"Affiliation": "text"},
        },
        "configs": (
            {
                "config": "sft",
                "about": "fine-tuning",
                "splits": splits,
                "columns": FORMATS["trl-sft"].columns.items(),
            },
        ),
        "lineage": (),
        "example": "",
        "sources": ({"source": "demo", "licence": "MIT", "sft": 900, "dpo": 0},),
        "models": (a_model(),),
        "policies": policies(),
        "policies_versions": ({"what": policies().version, "rows": 900},),
        "coverage": (
            {"policy": "fraud", "title": "Fraud", "applicable": 7, "citing": 5},
        ),
        "prompt_kinds": ({"what": "benign", "rows": 100},),
        "pair_kinds": (),
        "length_ratio": None,
        "quality": None,
        "evaluation_sets": (),
        "left_out": (),
        "batches": ("demo-0001",),
        "batches_left_out": (),
        "batches_overridden": (),
        "reasoning": "inline",
    }
    return CardFacts.model_validate(values | changes)


def a_model(**changes: Any) -> dict[str, Any]:
    return {
        "stage": "refined_cots",
        "roles": "refiner",
        "engine": "vllm",
        "model": "big-chat",
        "server": "fast (openai-reasoning)",
        "templates_version": "aa11",
        "rows": 900,
    } | changes


def an_evaluation_set(**changes: Any) -> dict[str, Any]:
    values = {
        "set": "xstest",
        "origin": "xs.csv",
        "revision": "ab12",
        "prompts": 450,
        "batches": 1,
        "removed": 3,
    }
    return values | changes


def render(**changes: Any) -> str:
    return render_card(facts(**changes), TEMPLATE.read_text("utf-8"))


def metadata_of(text: str) -> dict[str, Any]:
    """The metadata, as the Hub reads it."""
    start, metadata, _ = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(metadata)  # type: ignore[no-any-return]


def body_of(text: str) -> str:
    return text.split("---\n", 2)[2]


def test_the_server_and_its_profile_stand_beside_the_model() -> None:
    older = a_model(stage="seed_cots", server="")
    body = body_of(render(models=(a_model(), older)))
    assert "| big-chat | fast (openai-reasoning) | `aa11` |" in body
    assert "| big-chat | – | `aa11` |" in body


def test_the_metadata_has_the_keys_that_the_hub_reads() -> None:
    assert metadata_of(render()) == {
        "pretty_name": "Acme CoT",
        "license": "cc-by-nc-4.0",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "size_categories": ["n<1K"],
        "tags": ["safety"],
        "extra_gated_prompt": "Agree?",
        "extra_gated_fields": {"Affiliation": "text"},
        "configs": [
            {
                "config_name": "sft",
                "default": True,
                "data_files": [{"split": "train", "path": "data/sft/train-*.parquet"}],
            }
        ],
    }


def test_a_licence_unknown_to_the_hub_has_a_name_and_a_link() -> None:
    metadata = metadata_of(
        render(
            licence="Acme 1",
            hub_licence="other",
            licence_link="https://example.org/terms",
        )
    )
    assert metadata["license"] == "other"
    assert metadata["license_name"] == "Acme 1"
    assert metadata["license_link"] == "https://example.org/terms"


def test_without_gating_there_are_no_gating_keys() -> None:
    assert not [
        key for key in metadata_of(render(gating=None)) if key.startswith("extra_gated")
    ]


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (99_999, "10K<n<100K"),
        (1_000_000, "1M<n<10M"),
    ],
)
def test_the_size_is_a_size_class_of_the_hub(rows: int, size: str) -> None:
    splits = ({"split": "train", "rows": rows, "files": "x"},)
    config = {"config": "sft", "about": "", "splits": splits, "columns": ()}
    assert metadata_of(render(configs=(config,)))["size_categories"] == [size]


def test_the_label_of_a_rehearsal_comes_first() -> None:
    label = "Rehearsal: every answer in this data was simulated by rule"
    assert label in body_of(render(simulated=True))[:200]
    assert label not in render()


def test_the_body_lists_sources_models_policies_and_scores() -> None:
    quality = {
        "judges": ("judge (wise)",),
        "self_judged": ("big-chat",),
        "prompts": 12,
        "versions": ("single_llm", "refined"),
        "metrics": (
            {
                "metric": "relevance",
                "cells": ("4.10 (4.00 to 4.20)", "4.60 (4.50 to 4.70)"),
            },
        ),
    }
    text = body_of(render(quality=quality))
    assert "| demo | MIT | 900 | 0 |" in text
    assert (
        "| `refined_cots` | refiner | vllm | big-chat | fast (openai-reasoning) | `aa11` | 900 |"
    ) in text
    assert "- `fraud.1` Help no one to deceive." in text
    assert "| relevance | 4.10 (4.00 to 4.20) | 4.60 (4.50 to 4.70) |" in text
    assert (
        "> **Warning.** Some models judged rows that they wrote themselves, which tends to "
        "inflate scores: big-chat."
    ) in text
    # Beside the scores, and only where it holds.
    assert text.index("**Warning.**") < text.index("| relevance |")
    others = body_of(render(quality=quality | {"self_judged": ()}))
    assert "**Warning.**" not in others


def test_the_body_lists_what_is_left_out_with_its_reason() -> None:
    text = body_of(
        render(
            left_out=({"stage": "refined_cots", "reason": "over_filtered", "rows": 7},),
            evaluation_sets=(an_evaluation_set(),),
            batches_left_out=({"batch": "demo-0002", "why": "integrity failed"},),
            batches_overridden=({"batch": "demo-0001", "why": "token_length failed"},),
        )
    )
    assert "| `refined_cots` | over\\_filtered | 7 |" in text
    assert "| xstest | xs.csv | ab12 | 450 | 1 of 1 | 3 |" in text
    assert "checked against no evaluation set" in body_of(render())
    assert "- Batch demo-0002 is not included: integrity failed" in text
    overridden = (
        "- Batch demo-0001 is included by a person's decision although a check failed"
    )
    assert overridden in text


def test_policies_of_an_earlier_version_are_not_quoted() -> None:
    text = body_of(render(policies_versions=({"what": "0ld", "rows": 900},)))
    assert "an earlier version whose text is not given here" in text
    assert "Help no one to deceive" not in text


def test_names_and_texts_have_no_effect_as_markup() -> None:
    card = render(
        pretty_name=NASTY,
        licence=NASTY,
        hub_licence="other",
        tags=(NASTY,),
        sources=({"source": NASTY, "licence": NASTY, "sft": 1, "dpo": 1},),
        models=(a_model(model=NASTY, engine=NASTY),),
        left_out=({"stage": "x", "reason": NASTY, "rows": 1},),
        evaluation_sets=(an_evaluation_set(set=NASTY, origin=NASTY, revision=NASTY),),
        batches_left_out=({"batch": NASTY, "why": NASTY},),
        quality={
            "judges": (NASTY,),
            "self_judged": (NASTY,),
            "prompts": 1,
            "versions": (),
            "metrics": (),
        },
    )
    metadata, text = metadata_of(card), body_of(card)
    assert metadata["pretty_name"] == NASTY
    assert metadata["tags"] == [NASTY]
    assert metadata["license"] == "other"
    lines = text.splitlines()
    assert not [
        line for line in lines if line.startswith(("# Owned", "---", "license:"))
    ]
    for sign in ("<script>", "![a](", "`c`", "\x9b", "x | y"):
        assert sign not in text
    assert "{{ facts }}" in text


def test_the_same_facts_give_the_same_card() -> None:
    assert render() == render()


def test_a_broken_template_is_a_set_up_error() -> None:
    with pytest.raises(SetupError, match="the template of the dataset card"):
        render_card(facts(), "{{ facts.nothing_like_it }}")
