import tomllib

from tests.site import ROOT


def pinned(name: str) -> set[str]:
    lines = (ROOT / name).read_text().splitlines()
    return {
        line.split("==")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))
    }


def test_an_orchestrator_needs_no_torch() -> None:
    assert {"dagster", "polars"} <= pinned("constraints.txt")
    assert not {"torch", "vllm", "transformers"} & pinned("constraints.txt")


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        line.split(">")[0].split("=")[0].lower().replace("_", "-")
        for line in project["dependencies"]
    }
    assert names - pinned("constraints.txt") == set()


def test_the_pins_hold_no_address() -> None:
    for name in ("constraints.txt", "constraints-dev.txt"):
        assert "://" not in (ROOT / name).read_text()
