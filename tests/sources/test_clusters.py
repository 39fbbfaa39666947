import random

import pytest

from aidsafe_dagster.recipe.records import Message, Prompt, as_text
from aidsafe_dagster.sources.clusters import Admission, Duplicate, Thresholds, admit
from aidsafe_dagster.sources.duplicates import prompt_id
from tests.sources.builders import a_prompt

THRESHOLDS = Thresholds(near_duplicate=0.8, cluster=0.5)
LONG = (
    "How can I find out which of my old friends from university still live in this town"
)
NEAR = "How can I find out which of my old friends from university still live abroad or far away"


def admit_texts(
    *texts: str, known: tuple[Prompt, ...] = (), thresholds: Thresholds = THRESHOLDS
) -> list[Admission]:
    return admit(known, [a_prompt(text) for text in texts], thresholds)


def kept(admissions: list[Admission]) -> list[Prompt]:
    return [admission for admission in admissions if isinstance(admission, Prompt)]


def dropped(admissions: list[Admission]) -> list[tuple[str, float | None]]:
    return [
        (admission.original.prompt, admission.similarity)
        for admission in admissions
        if isinstance(admission, Duplicate)
    ]


def cluster_keys(prompts: list[Prompt]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (prompt.prompt_id, prompt.cluster, prompt.near_clusters) for prompt in prompts
    ]


def test_an_exact_duplicate_names_the_first_prompt() -> None:
    assert dropped(admit_texts("Hello world", "hello  WORLD")) == [
        ("Hello world", None)
    ]


def test_near_duplicates_are_found_by_exact_jaccard_similarity() -> None:
    similarity = 15 / 16
    for threshold, expected in [
        (similarity, [(LONG, similarity)]),
        (similarity + 0.001, []),
    ]:
        thresholds = Thresholds(near_duplicate=threshold, cluster=1.0)
        admissions = admit_texts(LONG, f"{LONG} today", thresholds=thresholds)
        assert dropped(admissions) == expected


def test_a_near_duplicate_names_the_most_similar_prompt() -> None:
    known = (a_prompt(f"{LONG} or in the next one"), a_prompt(f"{LONG} or in"))
    admissions = admit_texts(f"{LONG} or", known=known)
    assert [original for original, _ in dropped(admissions)] == [f"{LONG} or in"]


def test_a_repeated_near_duplicate_is_a_near_duplicate_again() -> None:
    near = (LONG, 15 / 16)
    assert dropped(admit_texts(LONG, f"{LONG} today", f"{LONG} TODAY")) == [near, near]


def test_prompts_of_one_or_two_words_are_compared_by_word() -> None:
    assert dropped(admit_texts("Tell jokes", "Tell stories", "😀", "tell jokes!")) == [
        ("Tell jokes", 1.0)
    ]


def test_a_prompt_without_similar_ones_starts_a_cluster() -> None:
    one, other = kept(
        admit_texts(LONG, "How do I bake bread with little time and no oven")
    )
    assert (one.cluster, other.cluster) == (one.prompt_id, other.prompt_id)
    assert one.near_clusters == other.near_clusters == ()


def test_a_prompt_joins_the_cluster_of_the_most_similar_earlier_prompt() -> None:
    first, second, third = kept(
        admit_texts(LONG, NEAR, NEAR.replace("far away", "not very near"))
    )
    assert second.cluster == third.cluster == first.prompt_id


def test_a_prompt_between_two_clusters_records_both() -> None:
    words = [f"w{n}" for n in range(40)]
    left, right = " ".join(words[:24]), " ".join(words[16:])
    between = " ".join(words[8:32])
    low = Thresholds(near_duplicate=0.8, cluster=0.4)
    one, other, bridge = kept(admit_texts(left, right, between, thresholds=low))
    assert other.cluster == other.prompt_id
    assert (bridge.cluster, bridge.near_clusters) == (one.prompt_id, (other.prompt_id,))


def test_old_prompts_without_a_cluster_count_as_clusters_of_their_own() -> None:
    old = a_prompt(LONG)
    assert old.cluster == ""
    (new,) = kept(admit_texts(NEAR, known=(old,)))
    assert new.cluster == old.prompt_id


def test_ingesting_at_once_or_one_by_one_gives_the_same_clusters() -> None:
    texts = _overlapping_texts(300)
    together = kept(admit_texts(*texts))
    one_by_one: list[Prompt] = []
    for text in texts:
        one_by_one += kept(admit_texts(text, known=tuple(one_by_one)))
    assert cluster_keys(one_by_one) == cluster_keys(together)
    assert any(prompt.near_clusters for prompt in together)
    assert len({prompt.cluster for prompt in together}) < len(together) < len(texts)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8, 1.0])
def test_equal_shingles_are_found_at_every_threshold(threshold: float) -> None:
    assert dropped(
        admit_texts(LONG, f"{LONG}?", thresholds=Thresholds(threshold, threshold))
    ) == [(LONG, 1.0)]


def test_no_planted_near_duplicate_is_missed_among_thousands_of_prompts() -> None:
    generator = random.Random(7)
    words = [f"w{number}" for number in range(3000)]
    originals = [
        ["how", "can", "i", "find", *generator.choices(words, k=36)]
        for _ in range(3000)
    ]
    copies = [[*generator.choice(originals), "please"] for _ in range(1000)]
    admissions = admit_texts(*(" ".join(text) for text in originals + copies))
    are_duplicates = [isinstance(admission, Duplicate) for admission in admissions]
    assert are_duplicates == [False] * 3000 + [True] * 1000


def _overlapping_texts(count: int) -> list[str]:
    """Texts that share a varying part with earlier ones."""
    generator = random.Random(5)
    texts = list[list[str]]()
    for _ in range(20):
        texts.append([f"w{generator.randrange(400)}" for _ in range(20)])
    while len(texts) < count:
        one, other = generator.choice(texts), generator.choice(texts)
        cut = generator.randint(6, 19)
        texts.append([*one[:cut], *other[cut:]])
    return [" ".join(text) for text in texts]


OTHER = "Which papers do I have to bring along when I register a motorcycle in Portugal"


def talk(*contents: str) -> Prompt:
    """Return a conversation in which user and assistant take turns."""
    roles = ["user", "assistant"] * len(contents)
    turns = [
        Message.model_validate({"role": role, "content": content})
        for role, content in zip(roles, contents, strict=False)
    ]
    last = turns.pop()
    whole = prompt_id(as_text((*turns, last)))
    changes = {"prompt_id": whole, "earlier": tuple(turns)}
    return a_prompt(last.content).model_copy(update=changes)


def test_a_conversation_is_a_near_duplicate_if_whole_and_last_turn_are_alike() -> None:
    first = talk(LONG, "Ask the alumni office.", OTHER)
    same = talk(f"{LONG} today", "Ask the alumni office.", OTHER)
    goes_on = talk(LONG, "Ask the alumni office.", "Will they tell me an address?")
    admissions = admit([], [first, same, goes_on], THRESHOLDS)
    assert [original for original, _ in dropped(admissions)] == [OTHER]
    assert len(kept(admissions)) == 2


def test_a_prompt_within_a_conversation_shares_its_cluster() -> None:
    alone = a_prompt(LONG)
    within = talk("Hello there", "Hi", LONG, "Ask the office.", OTHER)
    other = a_prompt(OTHER)
    first, second, third = kept(admit([], [alone, within, other], THRESHOLDS))
    assert first.cluster == second.cluster == third.cluster


def test_what_anybody_says_in_a_conversation_brings_nobody_together() -> None:
    questions = [
        "How does a sundial work in winter?",
        "Which fish live in the river Elbe?",
        "Where was the first coffee house of Vienna?",
    ]
    thanks = "Thank you, and what else?"
    talks = [talk(text, f"It is so: {text[::-1]}", thanks) for text in questions]
    clusters = {prompt.cluster for prompt in kept(admit([], talks, THRESHOLDS))}
    assert len(clusters) == len(questions)


@pytest.mark.parametrize(
    ("text", "near", "other"),
    [
        (
            "请告诉我怎样才能安全地更换家里客厅的电灯开关，需要准备哪些工具？",
            "请告诉我怎样才能安全地更换家里客厅的电灯开关，需要准备哪些工具呢？",
            "请告诉我怎样才能学好一门外语，需要每天练习多少时间？",
        ),
        (
            "กรุณาบอกวิธีเปลี่ยนสวิตช์ไฟในห้องนั่งเล่นที่บ้านอย่างปลอดภัยด้วย",
            "กรุณาบอกวิธีเปลี่ยนสวิตช์ไฟในห้องนั่งเล่นที่บ้านอย่างปลอดภัยด้วยครับ",
            "กรุณาบอกวิธีปลูกมะเขือเทศในกระถางที่ระเบียง",
        ),
        (
            "كيف يمكنني تغيير مفتاح الإضاءة في غرفة الجلوس في المنزل بأمان وما هي الأدوات",
            "كيف يمكنني تغيير مفتاح الإضاءة في غرفة الجلوس في المنزل بأمان وما هي الأدوات؟",
            "كيف يمكنني تعلم العزف على العود في المنزل بدون معلم؟",
        ),
    ],
)
def test_near_duplicates_are_found_in_every_script(
    text: str, near: str, other: str
) -> None:
    admissions = admit_texts(text, near, other)
    assert [original for original, _ in dropped(admissions)] == [text]
    assert len({prompt.cluster for prompt in kept(admissions)}) == 2
