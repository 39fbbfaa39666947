"""deploy/kubernetes: valid for the API, agreeing with itself, with the settings and with the project's pins."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from aidsafe_dagster.settings.load import load_settings
from tests.site import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = f"aidsafe_dagster:{PROJECT['version']}"
SECRET = "aidsafe-secrets"
Manifest = dict[str, Any]


def manifests() -> list[Manifest]:
    return [
        found
        for file in sorted(FOLDER.glob("*.yaml"))
        for found in yaml.safe_load_all(file.read_text())
    ]


def named(kind: str) -> dict[str, Manifest]:
    return {found["metadata"]["name"]: found for found in manifests() if found["kind"] == kind}


def pods() -> dict[str, Manifest]:
    return {
        name: found["spec"]["template"]["spec"]
        for kind in ("Deployment", "StatefulSet")
        for name, found in named(kind).items()
    }


def containers() -> dict[str, Manifest]:
    return {
        container["name"]: container for pod in pods().values() for container in pod["containers"]
    }


def values(node: Any, key: str) -> Iterator[Any]:
    """All values of a key, at any depth."""
    if isinstance(node, dict):
        yield from (value for found, value in node.items() if found == key)
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from values(item, key)


def settings_file(tmp_path: Path) -> Path:
    file = tmp_path / "aidsafe.toml"
    file.write_text(named("ConfigMap")["aidsafe-settings"]["data"]["aidsafe.toml"])
    return file


@pytest.mark.parametrize("version", ["1.29", "1.34", "1.37"])
@pytest.mark.parametrize(
    "manifest", manifests(), ids=lambda found: f"{found['kind']} {found['metadata']['name']}"
)
def test_a_manifest_is_what_the_api_takes(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_whatever_a_manifest_names_is_there() -> None:
    wanted = {
        "ConfigMap": {
            ref["name"] for key in ("configMap", "configMapRef") for ref in values(manifests(), key)
        },
        "ServiceAccount": set(values(manifests(), "serviceAccountName")),
    }
    for kind, names in wanted.items():
        assert names
        assert names <= set(named(kind))
    secrets = {
        ref["name"] for key in ("secretRef", "secretKeyRef") for ref in values(manifests(), key)
    }
    assert secrets == {SECRET}


def test_every_service_leads_to_a_port_that_some_pod_listens_on() -> None:
    listening = {
        (name, port["containerPort"])
        for name, pod in pods().items()
        for container in pod["containers"]
        for port in container.get("ports", ())
    }
    for service in named("Service").values():
        spec = service["spec"]
        assert {(spec["selector"]["app"], port["port"]) for port in spec["ports"]} <= listening


def test_the_settings_are_the_project_s_and_name_the_services(tmp_path: Path) -> None:
    settings = load_settings(environ={"AIDSAFE_SETTINGS": str(settings_file(tmp_path))}).settings
    assert settings.engine == "endpoint"
    model = next(arg for arg in containers()["vllm"]["args"] if arg.startswith("--model="))
    assert model == f"--model={settings.endpoint.model}"
    addresses = {settings.endpoint.base_url, settings.journal_url}
    addresses.add(named("ConfigMap")["aidsafe-environment"]["data"]["DAGSTER_POSTGRES_URL"])
    for address in addresses:
        found = re.search(r"//(?:\w+@)?(\w+):(\d+)", address)
        assert found
        service = named("Service")[found[1]]
        assert int(found[2]) in [port["port"] for port in service["spec"]["ports"]]


def test_the_slots_are_those_of_all_model_servers(tmp_path: Path) -> None:
    settings = load_settings(environ={"AIDSAFE_SETTINGS": str(settings_file(tmp_path))}).settings
    each = next(arg for arg in containers()["vllm"]["args"] if arg.startswith("--max-num-seqs="))
    assert (
        settings.endpoint.slots
        == int(each.partition("=")[2]) * named("Deployment")["vllm"]["spec"]["replicas"]
    )


def test_images_are_the_project_s_and_the_vllm_that_it_pins() -> None:
    images = {name: container["image"] for name, container in containers().items()}
    (pinned,) = PROJECT["optional-dependencies"]["vllm"]
    assert images.pop("vllm") == f"vllm/vllm-openai:v{pinned.partition('==')[2]}"
    assert re.fullmatch(r"postgres:\d+\.\d+", images.pop("postgres"))
    assert set(images.values()) == {IMAGE}
    assert f"-t {IMAGE} " in (ROOT / "deploy" / "image" / "Dockerfile").read_text()


def test_what_is_secret_comes_from_the_secret() -> None:
    given = [
        entry for found in values(manifests(), "env") if isinstance(found, list) for entry in found
    ]
    secret = {
        entry["name"]: entry for entry in given if re.search("PASSWORD|KEY|TOKEN", entry["name"])
    }
    assert {"POSTGRES_PASSWORD", "HF_TOKEN"} <= set(secret)
    assert all(entry["valueFrom"]["secretKeyRef"]["name"] == SECRET for entry in secret.values())


def test_the_web_ui_listens_on_loopback_and_no_service_leads_to_it() -> None:
    command = containers()["webserver"]["command"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "dagster" not in {
        service["spec"]["selector"]["app"] for service in named("Service").values()
    }
    assert not named("Ingress")


def test_no_container_may_become_more_than_it_is() -> None:
    for name, container in containers().items():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
    assert all(
        pod["securityContext"]["runAsNonRoot"] for name, pod in pods().items() if name != "vllm"
    )
