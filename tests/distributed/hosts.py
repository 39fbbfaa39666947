"""Hosts that share only what is served to them over the network.

As root on Linux a host is a set of namespaces: its own network, host name, process numbers and
mounts. A bridge joins it to the services, and the folders of the other hosts are hidden. Elsewhere
a host is a process group with a folder of its own (`Network.isolated` says which). Pulling the plug
kills all processes of a host at once, with no chance to clean up.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.site import ROOT, environment

Process = subprocess.Popen[bytes]
ENVIRONMENT = ROOT / "deploy" / "hosts" / "environment.sh"


@dataclass
class Host:
    """A machine of the cluster."""

    name: str
    folder: Path
    variables: dict[str, str]
    init: int | None = None
    """The first process in the host's namespaces, which end with it; None without namespaces."""
    device: str = ""
    """The bridge's end of its network card."""
    running: list[Process] = field(default_factory=list)

    def start(self, *command: str) -> Process:
        """Start a command in the host's folder and environment; its output goes to `log` there."""
        with_environment = ["bash", "-c", f'source "{ENVIRONMENT}" && exec "$@"', "-"]
        enter = list[str]()
        if self.init:
            namespaces = ["-n", "-u", "-p", "-m"]
            enter = [
                "nsenter",
                "-t",
                str(self.init),
                *namespaces,
                f"--wd={self.folder}",
            ]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*enter, *with_environment, *command],
                cwd=self.folder,
                env=environment(self.folder, HOME=str(self.folder), **self.variables),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def run(self, *command: str, timeout: float = 120) -> str:
        """Run a command to its end; return all that this host has printed so far."""
        process = self.start(*command)
        code = process.wait(timeout)
        printed = self.printed()
        assert code == 0, printed
        return printed

    def printed(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def pull_the_plug(self) -> None:
        """Kill every process of the host at once."""
        if self.init:
            with suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        for process in self.running:
            if process.poll() is None and not self.init:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
        self.running.clear()


@dataclass(frozen=True)
class Network:
    address: str
    """The address at which services listen."""
    isolated: bool
    """Whether hosts have namespaces; otherwise they are processes that share no folder."""
    bridge: str = ""

    def unplug(self, host: Host) -> None:
        """Cut an isolated host off. Its processes go on."""
        _ip("link", "set", host.device, "down")


@contextmanager
def a_network() -> Iterator[Network]:
    """A bridge for the hosts; loopback where there are no namespaces."""
    if not _has_namespaces():
        yield Network("127.0.0.1", isolated=False)
        return
    network = Network(
        f"10.211.{os.getpid() % 250}.1", isolated=True, bridge=f"aids{os.getpid()}"
    )
    _ip("link", "add", network.bridge, "type", "bridge")
    try:
        _ip("addr", "add", f"{network.address}/24", "dev", network.bridge)
        _ip("link", "set", network.bridge, "up")
        yield network
    finally:
        _ip("link", "del", network.bridge)


@contextmanager
def some_hosts(
    network: Network, folder: Path, names: Sequence[str], variables: dict[str, str]
) -> Iterator[list[Host]]:
    """Hosts of these names. At the end of the block all their processes are killed."""
    hosts = [Host(name, folder / name, variables) for name in names]
    for host in hosts:
        host.folder.mkdir(parents=True)
    with ExitStack() as plugs:
        for number, host in enumerate(hosts, start=2):
            if network.isolated:
                hidden = [other.folder for other in hosts if other is not host]
                plugs.enter_context(_namespaces(network, host, number, hidden))
            plugs.callback(host.pull_the_plug)
        yield hosts


@contextmanager
def _namespaces(
    network: Network, host: Host, number: int, hidden: Sequence[Path]
) -> Iterator[None]:
    hide = "; ".join(f"mount -t tmpfs tmpfs '{folder}'" for folder in hidden) or "true"
    inside = f"hostname {host.name}; ip link set lo up; {hide}; exec sleep infinity"
    namespaces = ["--net", "--uts", "--pid", "--mount"]
    unshare = ["unshare", *namespaces, "--fork", "--kill-child", "--mount-proc"]
    device = host.device = f"{network.bridge}.{number}"
    with subprocess.Popen(
        [*unshare, "sh", "-ec", inside], stderr=subprocess.DEVNULL
    ) as outer:
        try:
            host.init = _child_of(outer)
            _join(
                network,
                device,
                host.init,
                f"{network.address.rpartition('.')[0]}.{number}/24",
            )
            yield
        finally:
            outer.kill()
            # The kernel would remove it too, but only after a while.
            _ip("link", "del", device)


def _join(network: Network, device: str, init: int, address: str) -> None:
    """Give the namespaces of a process a network card that ends at the bridge."""
    _ip(
        "link",
        "add",
        device,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        str(init),
    )
    _ip("link", "set", device, "master", network.bridge, "up")
    for arguments in (
        ["addr", "add", address, "dev", "eth0"],
        ["link", "set", "eth0", "up"],
    ):
        subprocess.run(["nsenter", "-t", str(init), "-n", "ip", *arguments], check=True)


def _child_of(outer: Process) -> int:
    """The first process in the namespaces, once it runs its final program."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for pid in children.read_text().split():
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                return int(pid)
        time.sleep(0.02)
    raise TimeoutError("no namespaces came up")


def _has_namespaces() -> bool:
    tools = all(map(shutil.which, ("unshare", "nsenter", "ip")))
    if sys.platform != "linux" or os.geteuid() != 0 or not tools:
        return False
    probe = f"aids{os.getpid()}"
    add_bridge = ["ip", "link", "add", probe, "type", "bridge"]
    delete_bridge = ["ip", "link", "del", probe]
    unshare = ["unshare", "--net", "--uts", "--pid", "--mount", "--fork", "true"]
    has_bridge = (
        subprocess.run(add_bridge, check=False, capture_output=True).returncode == 0
    )
    subprocess.run(delete_bridge, check=False, capture_output=True)
    return has_bridge and subprocess.run(unshare, check=False).returncode == 0


def _ip(*arguments: str) -> None:
    # A link may be gone already, with its namespace.
    may_fail = arguments[:2] == ("link", "del")
    subprocess.run(["ip", *arguments], check=not may_fail, capture_output=may_fail)
