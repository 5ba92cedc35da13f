"""Trials as tasks of a Ray cluster, each asking for the GPUs that it needs.

All nodes see the study's folder, by the same path. A task whose node or process is lost is run
again elsewhere by Ray, and goes on from its trial's last checkpoint. What the walk through the
parent keeps lies in that folder too, or in `--activation_dir`, which may be each node's own.
"""

import os
import shutil
import time
from pathlib import Path
from types import ModuleType

from deep_net_triage import devices
from deep_net_triage.commands import endings
from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import InputError, WorkerEnded
from deep_net_triage.launchers.messages import Board, Message, Messenger
from deep_net_triage.progress import Progress
from deep_net_triage.records import files

_GLANCE = 0.5  # seconds between two looks at what processes tell


def run(settings: Settings, command: str, progress: Progress) -> int:
    """Runs a study on a Ray cluster, and returns how many trials failed.

    Args:
        settings: what to run, where results go, and the cluster's address.
        command: what was typed, for the record.
        progress: where a person watches.

    Raises:
        InputError: if Ray is not installed, or no cluster is at the address.
        WorkerEnded: if the parent, a trial, or the end of the study could not be run.
    """
    ray = _connected(settings.ray_address)
    started = time.time()
    folder = settings.activation_dir or settings.folder
    kept = files.unfinished_name(folder / "activations")
    try:
        cluster = _Cluster(ray, settings.replicas, Board(progress))
        beginning = ("make_parent", (settings, command, started))
        (work,) = cluster.run([beginning], alone=True)
        try:
            cluster.run([("run_trials", (settings, kept, work, only)) for only in work])
        finally:
            cluster.remove(kept)
        (failed,) = cluster.run([("finish", (settings, command, started))], alone=True)
        return failed
    finally:
        ray.shutdown()


def _connected(address: str) -> ModuleType:
    """Returns Ray, connected to a cluster."""
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--launcher=ray needs Ray; install it with pip install '.[ray]'"
        ) from error
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"--ray_address={address}: no Ray cluster is there; start one by ray start --head"
        ) from error
    return ray


class _Cluster:
    """What is asked of a cluster's nodes, and what they tell.

    Args:
        ray: connected.
        replicas: GPUs that share a batch, as asked for.
        board: shows what processes tell.
    """

    def __init__(self, ray: ModuleType, replicas: int | None, board: Board) -> None:
        self.ray = ray
        self.board = board
        # On this node, which stays as long as this process does.
        here = ray.get_runtime_context().get_node_id()
        self.mailbox = ray.remote(_Mailbox).options(**self._on(here)).remote()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = max(node.get("GPU", 0) for node in nodes)
        # Without GPUs a task has all the cores of a node.
        cores = [node["CPU"] for node in nodes if node.get("CPU")]
        cpus = 1 if gpus else min(cores, default=1)
        self.for_one = {"num_cpus": cpus, "num_gpus": replicas or 1 if gpus else 0}
        self.for_all = {"num_cpus": cpus, "num_gpus": replicas or gpus if gpus else 0}

    def run(self, work: list[tuple[str, tuple]], alone: bool = False) -> list[object]:
        """Runs parts of a study, each in a process of its own, and returns what they return.

        Args:
            work: the name of a function of `command`, and its arguments but for the last.
            alone: whether nothing else runs at the time, so that all GPUs of a node are free.

        Raises:
            WorkerEnded: if one of them ended early.
        """
        ray = self.ray
        # A process a task: a GPU's memory is given back by nothing else.
        needs = self.for_all if alone else self.for_one
        task = ray.remote(max_calls=1, max_retries=-1, **needs)(_work)
        tasks = [task.remote(os.getcwd(), self.mailbox, *part) for part in work]
        pending = tasks
        while pending:
            _, pending = ray.wait(pending, num_returns=len(pending), timeout=_GLANCE)
            for message in ray.get(self.mailbox.take.remote()):
                self.board.show(message)
        try:
            endings_of_work = ray.get(tasks)
        except ray.exceptions.RayError as error:  # lost more often than Ray bears with
            raise WorkerEnded(f"Ray: {type(error).__name__}", 1) from error
        for kind, content in endings_of_work:
            if kind == "ended":
                raise WorkerEnded(*content)
        return [content for _, content in endings_of_work]

    def remove(self, folder: Path) -> None:
        """Removes a folder on each node that is there."""
        ray = self.ray
        removed = [
            ray.remote(shutil.rmtree)
            .options(**self._on(node["NodeID"]))
            .remote(folder.absolute(), ignore_errors=True)
            for node in ray.nodes()
            if node["Alive"]
        ]
        ray.wait(removed, num_returns=len(removed), timeout=60)

    def _on(self, node: str) -> dict[str, object]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return {"num_cpus": 0, "scheduling_strategy": strategy}


class _Mailbox:
    """What processes tell, until it is asked for."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def put(self, message: Message) -> None:
        self._messages.append(message)

    def take(self) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages


def _work(folder: str, mailbox: object, part: str, arguments: tuple) -> tuple[str, object]:
    """Runs a part of the study in a process that Ray has made for it."""
    os.chdir(folder)  # paths are as they were typed
    messenger = Messenger(mailbox.put.remote)
    try:
        devices.import_tensorflow(arguments[0].replicas)
        from deep_net_triage.study import command

        return "returned", getattr(command, part)(*arguments, messenger)
    except Exception as error:
        ending = endings.describe(error)
        if not ending:
            raise
        return "ended", ending
