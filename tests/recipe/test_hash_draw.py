"""Draws by hash are pinned: a changed value would move rows between splits and samples."""

import pytest

from aidsafe_dagster.recipe.dialogue import derive_seed
from aidsafe_dagster.recipe.fine_tune_splits import SplitSettings, assign_split
from aidsafe_dagster.recipe.hash_draw import hash_fraction, hash_rank

PROMPT_IDS = ("p1", "0123456789abcdef", "ü \0x")


@pytest.mark.parametrize(
    ("purpose", "fractions"),
    [
        ("needless", (0.9381956060651744, 0.306607976774023, 0.6063971702933042)),
        ("compared", (0.6597877924464555, 0.6148758635680843, 0.7413011224181316)),
        ("plain", (0.8153423928833297, 0.1437901639554747, 0.44924791668930186)),
        ("split", (0.3283682699949284, 0.1312471703966745, 0.3903411553513666)),
    ],
)
def test_a_fraction_is_the_same_as_in_datasets_made_before(
    purpose: str, fractions: tuple[float, ...]
) -> None:
    assert (
        tuple(hash_fraction(purpose, prompt_id) for prompt_id in PROMPT_IDS)
        == fractions
    )


@pytest.mark.parametrize(
    ("purpose", "ranks"),
    [
        ("general", ("d193f2bb6345cca9", "f7a84eadf3f76136", "b557ebb234d18f09")),
        ("ablation", ("654b9a355cc3f92b", "64915e88f41ab9f7", "50e14e8a6b464f09")),
        ("safety_eval", ("4d48d18fbc45f514", "f5c1884a9976fad7", "c43c02757f93082a")),
    ],
)
def test_a_rank_is_the_same_as_in_samples_drawn_before(
    purpose: str, ranks: tuple[str, ...]
) -> None:
    assert (
        tuple(f"{hash_rank(purpose, prompt_id):x}" for prompt_id in PROMPT_IDS) == ranks
    )


def test_numbers_among_the_parts_are_written_out() -> None:
    ranks = [hash_rank(7, "draw", prompt_id) for prompt_id in PROMPT_IDS]
    assert ranks == [775035409130867364, 2770371129720213759, 18413323197013936839]


def test_separator_and_digest_size_are_part_of_the_draw() -> None:
    fractions = [
        hash_fraction(
            "fault",
            prompt_id,
            3,
            separator="\0",
            digest_size=6,
        )
        for prompt_id in PROMPT_IDS
    ]
    assert fractions == [0.8213557944348011, 0.746429435183078, 0.46285874866137533]


def test_seeds_are_the_same_as_in_journals_written_before() -> None:
    first = [
        derive_seed(
            0,
            prompt_id,
            "seed_cots",
            1,
            0,
        )
        for prompt_id in PROMPT_IDS
    ]
    assert first == [1516304920, 713970738, 1945296687]
    judges = [
        derive_seed(
            7,
            prompt_id,
            "cot_grades",
            "judge",
            2,
        )
        for prompt_id in PROMPT_IDS
    ]
    assert judges == [763847028, 1893874180, 1137374202]


@pytest.mark.parametrize(
    ("test_share", "splits"),
    [
        (0.1, ("validation", "validation", "validation")),
        (0.3, ("validation", "test", "validation")),
        (0.5, ("test", "test", "test")),
    ],
)
def test_clusters_stay_in_the_split_they_were_assigned_before(
    test_share: float, splits: tuple[str, ...]
) -> None:
    settings = SplitSettings(test=test_share, validation=0.3)
    assert (
        tuple(assign_split(prompt_id, settings) for prompt_id in PROMPT_IDS) == splits
    )
