"""deploy/kubernetes: valid for the API, consistent, and in line with settings and pins."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from tests.site import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = f"aidsafe_dagster:{PROJECT['version']}"
SECRET = "aidsafe-secrets"
Manifest = dict[str, Any]


def manifests() -> list[Manifest]:
    documents = list[Manifest]()
    for file in sorted(FOLDER.glob("*.yaml")):
        documents.extend(yaml.safe_load_all(file.read_text()))
    return documents


def title(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def named(kind: str) -> dict[str, Manifest]:
    """The manifests of a kind, by name."""
    of_kind = [manifest for manifest in manifests() if manifest["kind"] == kind]
    return {manifest["metadata"]["name"]: manifest for manifest in of_kind}


def pods() -> dict[str, Manifest]:
    workloads = named("Deployment") | named("StatefulSet")
    return {
        name: workload["spec"]["template"]["spec"]
        for name, workload in workloads.items()
    }


def containers() -> dict[str, Manifest]:
    by_name = dict[str, Manifest]()
    for pod in pods().values():
        for container in pod["containers"]:
            by_name[container["name"]] = container
    return by_name


def values(node: Any, key: str) -> Iterator[Any]:
    """All values of a key, at any depth."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from values(item, key)


def references(*keys: str) -> set[str]:
    """The names that manifests refer to under these keys."""
    names = set[str]()
    for key in keys:
        names.update(reference["name"] for reference in values(manifests(), key))
    return names


def cluster_settings(tmp_path: Path) -> Settings:
    file = tmp_path / "aidsafe.toml"
    file.write_text(named("ConfigMap")["aidsafe-settings"]["data"]["aidsafe.toml"])
    return load_settings(environ={"AIDSAFE_SETTINGS": str(file)}).settings


def vllm_argument(name: str) -> str:
    arguments = dict(
        argument.split("=", 1)
        for argument in containers()["vllm"]["args"]
        if "=" in argument
    )
    return str(arguments[name])


@pytest.mark.parametrize("version", ["1.29", "1.34", "1.37"])
@pytest.mark.parametrize("manifest", manifests(), ids=title)
def test_a_manifest_is_valid_for_the_api(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_everything_that_a_manifest_refers_to_exists() -> None:
    config_maps = references("configMap", "configMapRef")
    accounts = set(values(manifests(), "serviceAccountName"))
    assert config_maps
    assert config_maps <= set(named("ConfigMap"))
    assert accounts
    assert accounts <= set(named("ServiceAccount"))
    assert references("secretRef", "secretKeyRef") == {SECRET}


def test_every_service_leads_to_a_port_that_some_pod_listens_on() -> None:
    listening = set[tuple[str, int]]()
    for name, pod in pods().items():
        for container in pod["containers"]:
            for port in container.get("ports", ()):
                listening.add((name, port["containerPort"]))
    for service in named("Service").values():
        app = service["spec"]["selector"]["app"]
        for port in service["spec"]["ports"]:
            assert (app, port["port"]) in listening


def test_the_settings_are_the_project_s_and_name_the_services(tmp_path: Path) -> None:
    settings = cluster_settings(tmp_path)
    environment = named("ConfigMap")["aidsafe-environment"]["data"]
    assert settings.engine == "endpoint"
    assert vllm_argument("--model") == settings.endpoint.model
    addresses = {
        settings.endpoint.base_url,
        settings.journal_url,
        environment["DAGSTER_POSTGRES_URL"],
    }
    for address in addresses:
        match = re.search(r"//(?:\w+@)?(\w+):(\d+)", address)
        assert match
        service = named("Service")[match[1]]
        ports = [port["port"] for port in service["spec"]["ports"]]
        assert int(match[2]) in ports


def test_the_slots_are_those_of_all_model_servers(tmp_path: Path) -> None:
    replicas = named("Deployment")["vllm"]["spec"]["replicas"]
    slots_each = int(vllm_argument("--max-num-seqs"))
    assert cluster_settings(tmp_path).endpoint.slots == slots_each * replicas


def test_images_are_the_project_s_and_the_vllm_that_it_pins() -> None:
    images = {name: container["image"] for name, container in containers().items()}
    (pinned,) = PROJECT["optional-dependencies"]["vllm"]
    assert images.pop("vllm") == f"vllm/vllm-openai:v{pinned.partition('==')[2]}"
    assert re.fullmatch(r"postgres:\d+\.\d+", images.pop("postgres"))
    assert set(images.values()) == {IMAGE}
    assert f"-t {IMAGE} " in (ROOT / "deploy" / "image" / "Dockerfile").read_text()


def test_what_is_secret_comes_from_the_secret() -> None:
    secret_variables = dict[str, Manifest]()
    for variables in values(manifests(), "env"):
        # `env` is also a key of dagster.yaml, where it holds a name.
        if isinstance(variables, list):
            for variable in variables:
                if re.search("PASSWORD|KEY|TOKEN", variable["name"]):
                    secret_variables[variable["name"]] = variable
    assert {"POSTGRES_PASSWORD", "HF_TOKEN"} <= set(secret_variables)
    for variable in secret_variables.values():
        assert variable["valueFrom"]["secretKeyRef"]["name"] == SECRET


def test_the_web_ui_listens_on_loopback_and_no_service_leads_to_it() -> None:
    command = containers()["webserver"]["command"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    apps = {service["spec"]["selector"]["app"] for service in named("Service").values()}
    assert "dagster" not in apps
    assert not named("Ingress")


def test_no_container_may_gain_privileges() -> None:
    for name, container in containers().items():
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
    for name, pod in pods().items():
        # vLLM's own image runs as root.
        assert name == "vllm" or pod["securityContext"]["runAsNonRoot"], name
