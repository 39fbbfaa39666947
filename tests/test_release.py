"""A release, really built: its bytes, its list of parts, its sums and its signature."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.site import ROOT

WHO = "maintainer"
SUMS = "SHA256SUMS"
SCRIPT = [sys.executable, "-W", "error", str(ROOT / "scripts" / "release")]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / ".git").exists(), reason="a release is built from a commit"
    ),
    pytest.mark.skipif(
        shutil.which("ssh-keygen") is None, reason="OpenSSH's ssh-keygen signs it"
    ),
]


def release(
    folder: Path, *options: str, umask: int = -1, **variables: str
) -> tuple[int, str]:
    done = subprocess.run(
        [*SCRIPT, str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
        umask=umask,
    )
    return done.returncode, done.stdout + done.stderr


def a_key(folder: Path) -> Path:
    """Make a key that nothing else is ever signed with, and name its owner in a file beside it."""
    key = folder / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)],
        check=True,
    )
    public = key.with_suffix(".pub").read_text()
    (folder / "allowed_signers").write_text(f"{WHO} {public}")
    return key


def verify(folder: Path, allowed_signers: Path) -> bool:
    """Verify the signature as SECURITY.md says."""
    options = ["-f", str(allowed_signers), "-I", WHO, "-n", "aidsafe-release"]
    done = subprocess.run(
        ["ssh-keygen", "-Y", "verify", *options, "-s", str(folder / f"{SUMS}.sig")],
        input=(folder / SUMS).read_bytes(),
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def sums_hold(folder: Path) -> bool:
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", SUMS],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed")
    code, output = release(folder / "dist", "--key", str(a_key(folder)))
    assert code == 0, output
    assert "UNSIGNED" not in output
    return folder


def test_the_signature_and_the_sums_hold_until_a_byte_is_changed(
    signed: Path, tmp_path: Path
) -> None:
    dist = signed / "dist"
    assert verify(dist, signed / "allowed_signers")
    assert sums_hold(dist)
    files = {line.split()[1] for line in (dist / SUMS).read_text().splitlines()}
    assert files == {file.name for file in dist.iterdir()} - {SUMS, f"{SUMS}.sig"}
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in dist.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (wheel,) = copy.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b" ")
    assert not sums_hold(copy)
    (copy / SUMS).write_text((copy / SUMS).read_text() + "\n")
    assert not verify(copy, signed / "allowed_signers")


def test_a_signature_of_somebody_else_is_refused(signed: Path, tmp_path: Path) -> None:
    a_key(tmp_path)
    assert not verify(signed / "dist", tmp_path / "allowed_signers")


def test_the_list_of_parts_is_valid_and_has_every_pin_with_its_hashes(
    signed: Path,
) -> None:
    dist = signed / "dist"
    for suffix in ("", "-cluster"):
        (file,) = dist.glob(f"aidsafe_dagster-*[0-9]{suffix}.cdx.json")
        text = file.read_text()
        validator = JsonStrictValidator(SchemaVersion.V1_6)
        assert validator.validate_str(text) is None
        parts = {
            (part["name"], part["version"]): part
            for part in json.loads(text)["components"]
        }
        constraints = (dist / f"constraints{suffix}.txt").read_text()
        lines = constraints.splitlines()
        pins = [line.split(" ")[0].split("==") for line in lines if "==" in line[:60]]
        named = {(name, version) for name, version in pins if not name.startswith("#")}
        assert set(parts) == named
        digests = [
            entry["content"] for part in parts.values() for entry in part["hashes"]
        ]
        assert len(digests) == constraints.count("--hash=sha256:")
        assert all(digest in constraints for digest in digests)
        assert "://" not in json.dumps([part["purl"] for part in parts.values()])


def test_the_same_commit_gives_the_same_bytes(signed: Path, tmp_path: Path) -> None:
    elsewhere = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": "/nowhere"}
    code, output = release(tmp_path / "again", "--unsigned", umask=0o077, **elsewhere)
    assert code == 0, output
    for file in sorted((tmp_path / "again").iterdir()):
        assert file.read_bytes() == (signed / "dist" / file.name).read_bytes(), file


def test_without_a_key_a_release_says_that_it_is_unsigned_and_fails(
    tmp_path: Path,
) -> None:
    code, output = release(tmp_path / "dist")
    assert code == 3
    assert "UNSIGNED: nobody can tell who made this" in output
    assert sums_hold(tmp_path / "dist")


def test_a_key_that_is_not_there_and_a_folder_in_use_are_said_before_anything_is_built(
    tmp_path: Path,
) -> None:
    code, output = release(tmp_path / "dist", "--key", str(tmp_path / "none"))
    assert (code, "there is no key" in output) == (1, True)
    assert not (tmp_path / "dist").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    code, output = release(tmp_path / "full", "--unsigned")
    assert (code, "is not empty" in output) == (1, True)
