"""What the command line prints about another recipe, on a terminal of 80 columns."""

from pathlib import Path

from tests.lake.releases import BATCH, a_site_of
from tests.site import aidsafe


def test_what_has_changed_is_broken_between_words_and_hangs_together(
    tmp_path: Path,
) -> None:
    with a_site_of("2026-11-28", tmp_path / "site") as site:
        done = aidsafe(site.folder, "backfill", BATCH, "--keep-recipe", COLUMNS="80")
    lines = done.stdout.splitlines()
    first = lines.index(next(line for line in lines if line.startswith(BATCH)))
    last = lines.index("  Kept as it is (keep_recipe).")
    paragraph = lines[first:last]
    assert len(paragraph) > 1
    for line in paragraph[1:]:
        assert len(line) < 80
        assert line.startswith("  ")
        assert not line.startswith("   ")
    text = " ".join(line.strip() for line in paragraph)
    assert "cot_grades, preference_pairs: " in text
    assert "templates of preference_pairs changed." in text
