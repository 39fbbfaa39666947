import random

import pytest

from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.sources.clusters import Admission, Duplicate, Thresholds, admit
from tests.sources.builders import a_prompt

THRESHOLDS = Thresholds(near_duplicate=0.8, cluster=0.5)
LONG = "How can I find out which of my old friends from university still live in this town"
NEAR = "How can I find out which of my old friends from university still live abroad or far away"


def admitted(
    *texts: str, known: tuple[Prompt, ...] = (), thresholds: Thresholds = THRESHOLDS
) -> list[Admission]:
    return admit(known, [a_prompt(text) for text in texts], thresholds)


def kept(admissions: list[Admission]) -> list[Prompt]:
    return [admission for admission in admissions if isinstance(admission, Prompt)]


def dropped(admissions: list[Admission]) -> list[tuple[str, float | None]]:
    return [
        (admission.of.prompt, admission.similarity)
        for admission in admissions
        if isinstance(admission, Duplicate)
    ]


def test_an_exact_duplicate_names_the_first_one() -> None:
    assert dropped(admitted("Hello world", "hello  WORLD")) == [("Hello world", None)]


def test_a_near_duplicate_is_judged_by_exact_jaccard() -> None:
    similarity = 15 / 16
    for threshold, expected in [(similarity, [(LONG, similarity)]), (similarity + 0.001, [])]:
        assert (
            dropped(admitted(LONG, f"{LONG} today", thresholds=Thresholds(threshold, 1.0)))
            == expected
        )


def test_of_several_near_duplicates_the_most_similar_is_named() -> None:
    known = (a_prompt(f"{LONG} or in the next one"), a_prompt(f"{LONG} or in"))
    assert [of for of, _ in dropped(admitted(f"{LONG} or", known=known))] == [f"{LONG} or in"]


def test_a_text_that_comes_again_after_it_was_dropped_is_a_near_duplicate_again() -> None:
    near = (LONG, 15 / 16)
    assert dropped(admitted(LONG, f"{LONG} today", f"{LONG} TODAY")) == [near, near]


def test_prompts_of_one_or_two_words_are_compared_by_words() -> None:
    assert dropped(admitted("Tell jokes", "Tell stories", "😀", "tell jokes!")) == [
        ("Tell jokes", 1.0)
    ]


def test_a_prompt_near_to_no_other_begins_a_cluster_of_its_own() -> None:
    one, other = kept(admitted(LONG, "How do I bake bread with little time and no oven"))
    assert (one.cluster, other.cluster) == (one.prompt_id, other.prompt_id)
    assert one.near_clusters == other.near_clusters == ()


def test_a_prompt_joins_the_cluster_of_the_most_similar_earlier_one() -> None:
    first, second, third = kept(admitted(LONG, NEAR, NEAR.replace("far away", "not very near")))
    assert second.cluster == third.cluster == first.prompt_id


def test_a_prompt_between_two_clusters_knows_both() -> None:
    words = [f"w{n}" for n in range(40)]
    left, right = " ".join(words[:24]), " ".join(words[16:])
    between = " ".join(words[8:32])
    low = Thresholds(near_duplicate=0.8, cluster=0.4)
    one, other, bridge = kept(admitted(left, right, between, thresholds=low))
    assert other.cluster == other.prompt_id
    assert (bridge.cluster, bridge.near_clusters) == (one.prompt_id, (other.prompt_id,))


def test_prompts_ingested_before_there_were_clusters_are_clusters_of_their_own() -> None:
    old = a_prompt(LONG)
    assert old.cluster == ""
    (new,) = kept(admitted(NEAR, known=(old,)))
    assert new.cluster == old.prompt_id


def test_it_makes_no_difference_whether_prompts_come_at_once_or_one_by_one() -> None:
    texts = _somewhat_alike(300)
    together = kept(admitted(*texts))
    one_by_one: list[Prompt] = []
    for text in texts:
        one_by_one += kept(admitted(text, known=tuple(one_by_one)))
    assert [(p.prompt_id, p.cluster, p.near_clusters) for p in one_by_one] == [
        (p.prompt_id, p.cluster, p.near_clusters) for p in together
    ]
    assert any(prompt.near_clusters for prompt in together)
    assert len({prompt.cluster for prompt in together}) < len(together) < len(texts)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8, 1.0])
def test_every_allowed_threshold_finds_the_same_shingles_again(threshold: float) -> None:
    assert dropped(admitted(LONG, f"{LONG}?", thresholds=Thresholds(threshold, threshold))) == [
        (LONG, 1.0)
    ]


def test_of_thousands_of_prompts_no_planted_near_duplicate_is_missed() -> None:
    choice = random.Random(7)
    words = [f"w{number}" for number in range(3000)]
    originals = [["how", "can", "i", "find", *choice.choices(words, k=36)] for _ in range(3000)]
    copies = [[*choice.choice(originals), "please"] for _ in range(1000)]
    outcomes = admitted(*(" ".join(text) for text in originals + copies))
    assert [isinstance(outcome, Duplicate) for outcome in outcomes] == [False] * 3000 + [
        True
    ] * 1000


def _somewhat_alike(count: int) -> list[str]:
    """Texts that share more or less with earlier ones."""
    choice = random.Random(5)
    texts = [[f"w{choice.randrange(400)}" for _ in range(20)] for _ in range(20)]
    while len(texts) < count:
        one, other = choice.choice(texts), choice.choice(texts)
        cut = choice.randint(6, 19)
        texts.append([*one[:cut], *other[cut:]])
    return [" ".join(text) for text in texts]
