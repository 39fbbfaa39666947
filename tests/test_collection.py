"""Two workers of pytest-xdist must collect the same tests, wherever and whenever they do it."""

import os
import subprocess
import sys

import pytest

from tests.site import ROOT


def collected_ids(**variables: str) -> list[str]:
    everything = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-o",
        "addopts=",
    ]
    listing = subprocess.run(
        [*everything, "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    # The last line says how long it took.
    return [line for line in listing.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_ids_and_order_hang_on_no_hash_locale_or_time_zone() -> None:
    first = collected_ids(PYTHONHASHSEED="1", LC_ALL="C", TZ="Asia/Tokyo")
    second = collected_ids(PYTHONHASHSEED="2", LC_ALL="C.UTF-8", TZ="UTC")
    assert len(first) > 1000
    assert first == second
