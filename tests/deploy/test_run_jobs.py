"""The instance in deploy/kubernetes starts a run as a valid Job that has all it needs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._core.definitions.reconstruct import reconstructable
from dagster._core.launcher import LaunchRunContext

from tests.deploy.test_kubernetes import IMAGE, SECRET, containers, named
from tests.site import a_site

pytestmark = pytest.mark.distributed  # needs the extra `cluster`


@contextmanager
def a_kubernetes_api(received: list[dict[str, Any]]) -> Iterator[str]:
    """The URL of a server that accepts everything, and appends it to `received`."""

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(json.loads(body))
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Api)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def kubeconfig(folder: Path, api: str) -> Path:
    names = {"cluster": "loopback", "user": "tester"}
    content = {
        "clusters": [{"name": "loopback", "cluster": {"server": api}}],
        "contexts": [{"name": "loopback", "context": names}],
        "users": [{"name": "tester", "user": {}}],
        "current-context": "loopback",
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return file


def make_batch() -> dg.JobDefinition:
    from aidsafe_dagster.definitions import defs

    return defs.resolve_job_def("make_batch")


def launched_job(tmp_path: Path) -> dict[str, Any]:
    """The Job that Kubernetes is sent for one batch. Only the storage is a local one."""
    received: list[dict[str, Any]] = []
    with a_kubernetes_api(received) as api, a_site(tmp_path):
        config = yaml.safe_load(
            named("ConfigMap")["dagster-instance"]["data"]["dagster.yaml"]
        )
        config["storage"] = {"sqlite": {"base_dir": str(tmp_path / "dagster")}}
        outside_of_the_cluster = {
            "load_incluster_config": False,
            "kubeconfig_file": str(kubeconfig(tmp_path, api)),
        }
        config["run_launcher"]["config"] |= outside_of_the_cluster
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            origin = reconstructable(make_batch).get_python_origin()
            run = instance.create_run_for_job(make_batch(), job_code_origin=origin)
            instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    (job,) = received
    return job


def test_a_run_is_started_as_a_valid_job(tmp_path: Path) -> None:
    job = launched_job(tmp_path)
    kubernetes_validate.validate(job, "1.34", strict=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert pod["serviceAccountName"] in named("ServiceAccount")
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_a_run_has_the_settings_and_secrets_of_the_daemon(tmp_path: Path) -> None:
    pod = launched_job(tmp_path)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    daemon = containers()["daemon"]
    for source in daemon["envFrom"]:
        assert source in container["envFrom"]
    assert {"secretRef": {"name": SECRET}} in daemon["envFrom"]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"]}
    assert volumes[mounted["/etc/aidsafe"]] == "aidsafe-settings"
    assert "/etc/aidsafe" in [mount["mountPath"] for mount in daemon["volumeMounts"]]
