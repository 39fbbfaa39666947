"""No file of deploy/ holds a secret, or asks for one to be written into it."""

import re
from pathlib import Path

import pytest

from tests.site import ROOT

FILES = [
    path
    for path in sorted((ROOT / "deploy").rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
]
SECRET_NAME = re.compile(r"\w*(PASSWORD|SECRET_ACCESS_KEY|API_KEY|TOKEN)")
PASSWORD_IN_URL = re.compile(r"://[^/@:\s]*:[^/@\s]+@")
ASSIGNMENT = re.compile(
    r"^\s*(?:-\s*)?(?:export |ENV |ARG )?(?:name:\s*)?"
    r"[\"']?(?P<name>[A-Z_]+)[\"']?\s*[:=]\s*[\"']?\S+"
)


@pytest.mark.parametrize(
    "file", FILES, ids=lambda path: str(path.relative_to(ROOT / "deploy"))
)
def test_a_file_holds_no_password_key_or_token(file: Path) -> None:
    text = file.read_text()
    assert not PASSWORD_IN_URL.search(text)
    for line in text.splitlines():
        match = ASSIGNMENT.match(line)
        assert not (match and SECRET_NAME.fullmatch(match["name"])), line
