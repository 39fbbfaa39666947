"""The managed server's processes: shared, distinguished, explained, restarted, stopped.

A stand-in answers for vLLM here.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aidsafe_dagster.engines.driver.driver import drive
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.settings import EndpointSettings
from aidsafe_dagster.engines.vllm.engine import VLLMEngine
from aidsafe_dagster.engines.vllm.lease import Lease, is_kept, leftovers, write_lease
from aidsafe_dagster.engines.vllm.server import VLLMServer
from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.recipe.errors import SetupError
from tests.engines.driving import a_task
from tests.site import ROOT, aidsafe, prepare

STAND_IN = {"PYTHONPATH": str(ROOT / "tests" / "stand_in")}


def settings_for(folder: Path, **changes: Any) -> VLLMSettings:
    values: dict[str, Any] = {
        "model": "a-model",
        "state": folder / "vllm",
        "environment": STAND_IN,
    }
    return VLLMSettings(**(values | changes))


@contextmanager
def servers(folder: Path) -> Iterator[Callable[..., VLLMServer]]:
    """A function that creates servers which share a folder; they are stopped at the end."""
    created: list[VLLMServer] = []

    def a_server(**changes: Any) -> VLLMServer:
        created.append(VLLMServer(settings_for(folder, **changes)))
        return created[-1]

    try:
        yield a_server
    finally:
        for server in created:
            server.release()
        for server in created[:1]:
            server.stop()


def acquire(server: VLLMServer) -> Lease:
    return asyncio.run(server.acquire())


def wait_until(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_server_is_started_and_shared(tmp_path: Path) -> None:
    with servers(tmp_path) as a_server:
        first = acquire(a_server())
        second = acquire(a_server())
        assert first == second
        assert first.state == "ready"
        assert len([p for p in leftovers(first) if p.pid == first.server]) == 1


def test_two_processes_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.engines.vllm.test_server import *;"
        "print(acquire(VLLMServer(settings_for(Path(sys.argv[1])))).server)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with servers(tmp_path) as a_server:
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
            for _ in range(2)
        ]
        pids = {process.communicate(timeout=60)[0].strip() for process in started}
        assert len(pids) == 1
        assert pids == {str(acquire(a_server()).server).encode()}


def test_other_arguments_do_not_reuse_a_server_that_somebody_uses(
    tmp_path: Path,
) -> None:
    with servers(tmp_path) as a_server, _another_user(tmp_path) as pid:
        with pytest.raises(
            SetupError, match=rf"other arguments \(a-model\) is in use by process {pid}"
        ):
            acquire(a_server(max_model_len=99))
        assert acquire(a_server()).state == "ready"


def test_other_arguments_replace_a_server_that_nobody_uses(tmp_path: Path) -> None:
    with servers(tmp_path) as a_server:
        server = a_server()
        old = acquire(server)
        server.release()
        new = acquire(a_server(max_model_len=99))
        assert new.fingerprint != old.fingerprint
        assert leftovers(old) == []


def test_a_lease_left_behind_by_a_crash_is_recognised_and_replaced(
    tmp_path: Path,
) -> None:
    with servers(tmp_path) as a_server:
        old = acquire(a_server())
        os.kill(old.keeper, signal.SIGKILL)
        wait_until(lambda: not leftovers(old))
        new = acquire(a_server())
        assert new.state == "ready"
        assert new.mark != old.mark
        assert leftovers(old) == []


def test_a_pid_that_now_belongs_to_another_program_is_not_taken_for_the_keeper(
    tmp_path: Path,
) -> None:
    with servers(tmp_path) as a_server:
        server = a_server()
        lease = acquire(server)
        assert is_kept(server.folder)
        os.kill(lease.keeper, signal.SIGKILL)
        wait_until(lambda: not is_kept(server.folder))
        write_lease(server.folder, lease.model_copy(update={"keeper": os.getpid()}))
        assert not is_kept(server.folder)


def test_a_server_that_nobody_uses_stops_by_itself(tmp_path: Path) -> None:
    with servers(tmp_path) as a_server:
        server = a_server(idle_stop_s=0.5)
        lease = acquire(server)
        time.sleep(1.5)
        assert is_kept(server.folder)
        server.release()
        wait_until(lambda: not is_kept(server.folder))
        assert leftovers(lease) == []
        last_lease = server.lease()
        assert last_lease is not None
        assert last_lease.state == "stopped"
        assert last_lease.detail == "idle for 0 s"


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    with servers(tmp_path) as a_server:
        server = a_server()
        lease = acquire(server)
        assert server.stop()
        assert leftovers(lease) == []
        assert not is_kept(server.folder)
        assert not server.stop()


@pytest.mark.parametrize("keeper_is_alive", [True, False])
def test_a_worker_whose_title_has_overwritten_its_environment_is_ended_too(
    tmp_path: Path, keeper_is_alive: bool
) -> None:
    with servers(tmp_path) as a_server:
        server = a_server(model="titled-model")
        lease = acquire(server)
        workers = [each for each in leftovers(lease) if each.pid != lease.server]
        assert [worker.environ() for worker in workers] == [{}]
        if not keeper_is_alive:
            # The kernel ends the server with its keeper, and nobody ends the worker.
            os.kill(lease.keeper, signal.SIGKILL)
            wait_until(lambda: leftovers(lease) == workers)
        assert server.stop()
        assert leftovers(lease) == []


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        ("broken-memory", "out of memory"),
        ("broken-name", "there is no such model"),
        ("broken-adapter", "an adapter of vllm.lora_adapters cannot be loaded"),
        ("broken-gate", "the model is gated"),
        ("broken-gpu", "no usable GPU here"),
    ],
)
def test_a_server_that_does_not_start_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, cause: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_marked_secret")
    with servers(tmp_path) as a_server:
        server = a_server(model=model)
        with pytest.raises(SetupError) as refused:
            acquire(server)
        message = str(refused.value)
        assert f"vLLM did not start: {cause}" in message
        assert "stand-in for vLLM: " in message
        assert "hf_marked_secret" not in message
        lease = server.lease()
        assert lease is not None
        assert leftovers(lease) == []


def test_a_server_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    with servers(tmp_path) as a_server:
        server = a_server(model="slow-one", start_timeout_s=1)
        with pytest.raises(SetupError, match="not ready after 1 s"):
            acquire(server)
        lease = server.lease()
        assert lease is not None
        assert leftovers(lease) == []


def test_a_taken_port_is_reported_at_once(tmp_path: Path) -> None:
    with servers(tmp_path) as a_server:
        port = acquire(a_server()).port
        with pytest.raises(SetupError, match=f"vllm.port: {port} is taken"):
            acquire(
                VLLMServer(settings_for(tmp_path, port=port, state=tmp_path / "other"))
            )


def test_a_server_killed_in_the_middle_is_started_again_and_the_dialogues_go_on(
    tmp_path: Path,
) -> None:
    with servers(tmp_path) as a_server:
        killed: list[int] = []
        lines: list[str] = []
        engine = VLLMEngine(
            settings_for(tmp_path), EndpointSettings(), log=lines.append
        )
        a_server()

        def on_progress(progress: Any) -> None:
            lease = engine.server.lease()
            if progress.rows_done == 3 and not killed and lease:
                killed.append(lease.server)
                os.kill(lease.server, signal.SIGKILL)

        with closing(Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")) as journal:

            async def run() -> Any:
                try:
                    settings = DriverSettings(calls_in_flight=2, backoff_s=0.01)
                    return await drive(
                        [a_task(n) for n in range(8)],
                        engine,
                        journal,
                        settings,
                        on_progress,
                    )
                finally:
                    await engine.close()

            results, progress = asyncio.run(run())
        assert progress.rows_failed == 0
        assert engine.restarts == 1
        assert {result.count("from") for result in results} == {3}
        assert any("is started again" in line for line in lines)


def test_a_server_that_keeps_dying_stops_the_run_with_its_last_lines(
    tmp_path: Path,
) -> None:
    with servers(tmp_path) as a_server:
        a_server()
        engine = VLLMEngine(settings_for(tmp_path, max_restarts=0), EndpointSettings())

        async def run() -> None:
            with closing(
                Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
            ) as journal:
                try:
                    await drive([a_task(0, turns=1)], engine, journal, DriverSettings())
                    lease = engine.server.lease()
                    assert lease is not None
                    os.kill(lease.server, signal.SIGKILL)
                    await drive(
                        [a_task(1, turns=1)],
                        engine,
                        journal,
                        DriverSettings(backoff_s=0.01),
                    )
                finally:
                    await engine.close()

        with pytest.raises(
            SetupError, match=r"died \(death 1 in this run, 0 are mended\)"
        ):
            asyncio.run(run())


def test_the_command_line_starts_shows_and_stops_the_server(tmp_path: Path) -> None:
    prepare(tmp_path, engine="vllm", vllm={"model": "a-model", "state": "vllm"})
    with (tmp_path / "aidsafe.toml").open("a") as settings:
        settings.write(f"[vllm.environment]\nPYTHONPATH = '{STAND_IN['PYTHONPATH']}'\n")
    with servers(tmp_path):
        assert "No vLLM server runs" in aidsafe(tmp_path, "engine", "status").stdout
        assert "vLLM serves a-model" in aidsafe(tmp_path, "engine", "start").stdout
        assert (
            "ready: a-model at http://127.0.0.1:"
            in aidsafe(tmp_path, "engine", "status").stdout
        )
        assert "stand-in for vLLM" in aidsafe(tmp_path, "engine", "logs").stdout
        assert "Stopped." in aidsafe(tmp_path, "engine", "stop").stdout
        assert aidsafe(tmp_path, "engine", "status").returncode == 1


@contextmanager
def _another_user(folder: Path) -> Iterator[int]:
    """A process that uses the server of the usual arguments."""
    program = (
        "import sys, time; from pathlib import Path; from tests.engines.vllm.test_server import *;"
        "server = VLLMServer(settings_for(Path(sys.argv[1]))); acquire(server);"
        "print('up', flush=True); time.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process.pid
        process.kill()
