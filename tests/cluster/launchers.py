"""Nodes on this machine: a launcher of torch's each, with a working folder and an environment of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.paths import ROOT

HEARTBEATS = "keep_alive_interval=1,keep_alive_max_attempt=3,read_timeout=30"
"""So that launchers notice within seconds that one is gone."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Node:
    """One of the launchers that train together; it can be killed and started again."""

    name: str
    folder: Path
    endpoint: str
    run_id: str
    keeps_store: bool
    """Whether the launchers find each other in this one's store; they all end with it."""
    environment: dict[str, str] = field(default_factory=dict)
    nodes: int = 2
    ranks: int = 1
    restarts: int = 3
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, *arguments: object) -> "Node":
        """Starts `torchrun … -m pipeline ARGUMENTS…`, which appends what it says to a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        launcher = (
            *("--nnodes", str(self.nodes), "--nproc-per-node", str(self.ranks), "--max-restarts", str(self.restarts)),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", self.endpoint, "--rdzv-id", self.run_id),
            *(
                "--rdzv-conf",
                f"{HEARTBEATS},is_host={int(self.keeps_store)}",
                "--local-addr",
                "127.0.0.1",
                "--monitor-interval",
                "0.1",
            ),
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "torch.distributed.run", *launcher, "-m", "pipeline", *map(str, arguments)],
                cwd=self.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "OMP_NUM_THREADS": "1",
                    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
                    **self.environment,
                },
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def log(self) -> Path:
        """What the launcher and its workers have said."""
        return self.folder / f"{self.name}.log"

    @property
    def said(self) -> str:
        """Its text."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def is_running(self) -> bool:
        """Whether the launcher has not ended."""
        return self.process is not None and self.process.poll() is None

    def workers(self) -> list[int]:
        """Process IDs of the launcher's workers."""
        assert self.process is not None
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(line) for line in listed.stdout.split()]

    def kill(self) -> None:
        """Kills the launcher and its workers, as if the node had lost power."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGSTOP)  # it starts no worker meanwhile
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float = 400) -> int:
        """The launcher's exit code."""
        assert self.process is not None
        return self.process.wait(seconds)


def two_nodes(folder: Path, run_id: str, **environment: str) -> tuple[Node, Node]:
    """Two nodes; the first one keeps the store in which they find each other."""
    endpoint = f"127.0.0.1:{free_port()}"
    first = Node("first", folder / "first", endpoint, run_id, keeps_store=True, environment=dict(environment))
    second = Node("second", folder / "second", endpoint, run_id, keeps_store=False, environment=dict(environment))
    return first, second


def finish(*nodes: Node) -> None:
    """Waits for the nodes; each must succeed."""
    codes = [node.wait() for node in nodes]
    assert not any(codes), "\n".join(
        f"--- {node.name}: {code}\n{node.said}" for node, code in zip(nodes, codes, strict=True)
    )


def wait_for(condition: Callable[[], object], nodes: Sequence[Node], seconds: float = 300) -> None:
    """Waits until a condition is true, while the nodes run."""
    end = time.monotonic() + seconds
    while not condition():
        said = "\n".join(f"--- {node.name}\n{node.said}" for node in nodes)
        assert time.monotonic() < end, f"nothing for {seconds} s\n{said}"
        assert all(node.is_running() for node in nodes), said
        time.sleep(0.02)
