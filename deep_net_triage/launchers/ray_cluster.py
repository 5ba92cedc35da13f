"""Runs trials as tasks of a Ray cluster, each with the GPUs that it needs.

All nodes must see the study's folder under the same path. If a node or process is lost, Ray
runs its task elsewhere, from the trial's last checkpoint. Shared activations are stored in the
study's folder, or in `--activation_dir`, which may be local to each node.
"""

import os
import shutil
import time
from pathlib import Path
from types import ModuleType

from deep_net_triage import devices
from deep_net_triage.commands import endings
from deep_net_triage.commands.settings import Settings
from deep_net_triage.devices import WHOLE
from deep_net_triage.errors import InputError, WorkerEnded
from deep_net_triage.launchers.messages import Board, Message, Messenger
from deep_net_triage.progress import Progress
from deep_net_triage.records import files

_RETRIES = 5  # of a process that was lost with its node, or that crashed
_GLANCE = 0.5  # seconds between two reads of the mailbox


def run(settings: Settings, command: str, progress: Progress) -> int:
    """Runs a study on a Ray cluster, and returns the number of failed trials.

    Raises:
        InputError: if Ray is not installed, no cluster is at the address, or no node has as
            many GPUs as `--replicas` asks for.
        WorkerEnded: if a part of the study ends early.
    """
    ray = _connected(settings.ray_address)
    started = time.time()
    folder = settings.activation_dir or settings.folder
    activations = files.unfinished_name(folder / "activations")
    try:
        cluster = _Cluster(ray, settings.replicas, Board(progress))
        (work,) = cluster.run([("make_parent", (settings, command, started))], alone=True)
        try:
            each = (settings, activations, work)
            cluster.run([("run_trials", (*each, only, WHOLE)) for only in work])
        finally:
            cluster.remove(activations)
        (failed,) = cluster.run([("finish", (settings, command, started))], alone=True)
        return failed
    finally:
        ray.shutdown()


def _connected(address: str) -> ModuleType:
    """Returns the module `ray`, connected to a cluster."""
    try:
        import ray
    except ImportError as error:
        raise InputError("--launcher=ray needs Ray; install it with pip install ray") from error
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"--ray_address={address}: no Ray cluster answers; start one with ray start --head"
        ) from error
    return ray


class _Cluster:
    """Runs tasks on a cluster, and shows their messages."""

    def __init__(self, ray: ModuleType, replicas: int | None, board: Board) -> None:
        self.ray = ray
        self.board = board
        # On this node, which lives as long as this process.
        here = ray.get_runtime_context().get_node_id()
        self.mailbox = ray.remote(_Mailbox).options(**self._on(here)).remote()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = max(node.get("GPU", 0) for node in nodes)
        if gpus and replicas and replicas > gpus:
            raise InputError(f"--replicas={replicas}: a node has {gpus:g} GPUs at most")
        # Without GPUs, a task uses all cores of a node.
        cores = [node["CPU"] for node in nodes if node.get("CPU")]
        cpus = 1 if gpus else min(cores, default=1)
        self.for_one = {"num_cpus": cpus, "num_gpus": replicas or 1 if gpus else 0}
        self.for_all = {"num_cpus": cpus, "num_gpus": replicas or gpus if gpus else 0}
        kind, needed = ("GPU", replicas or 1) if gpus else ("CPU", cpus)
        self.at_once = _at_once(nodes, kind, needed)

    def run(self, work: list[tuple[str, tuple]], alone: bool = False) -> list[object]:
        """Runs parts of a study, each in a process of its own, and returns their results.

        Args:
            work: names of functions of `study.command`, and their arguments but the last.
            alone: whether nothing else runs meanwhile, so that all GPUs of a node are free.

        Raises:
            WorkerEnded: if one of them ends early.
        """
        ray = self.ray
        # One process per task, because only its end releases a GPU's memory.
        needs = self.for_all if alone else self.for_one
        task = ray.remote(max_calls=1, max_retries=_RETRIES, **needs)(_work)
        tasks = [
            task.remote(os.getcwd(), self.mailbox, number, *part)
            for number, part in enumerate(work)
        ]
        pending = tasks
        while pending:
            ended, pending = ray.wait(pending, num_returns=len(pending), timeout=_GLANCE)
            for message, number in ray.get(self.mailbox.take.remote()):
                self.board.show(self._of_cluster(message), number)
            for one in ended:
                self.board.ended(tasks.index(one), others=bool(pending))
        try:
            outcomes = ray.get(tasks)
        except ray.exceptions.RayError as error:  # such as a task lost too often
            reason = f"a Ray task failed ({type(error).__name__})"
            raise WorkerEnded(f"{reason}; run the command again to continue", 1) from error
        for _, ending in outcomes:
            if ending:
                raise WorkerEnded(*ending)
        return [returned for returned, _ in outcomes]

    def _of_cluster(self, message: Message) -> Message:
        """Returns a message, in which what one node runs at once is what the cluster runs."""
        kind, content = message
        if kind != "expect":
            return message
        trainings, _, afterwards = content
        return kind, (trainings, self.at_once, afterwards)

    def remove(self, folder: Path) -> None:
        """Removes a folder on each live node."""
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


def _at_once(nodes: list[dict[str, float]], kind: str, needed: float) -> int:
    """Returns how many tasks run at once on nodes if each needs so many CPUs or GPUs of one."""
    return max(1, sum(int(node.get(kind, 0) // needed) for node in nodes))


class _Mailbox:
    """Holds the messages of all tasks, with their numbers, until `take` returns them."""

    def __init__(self) -> None:
        self._messages: list[tuple[Message, int]] = []

    def put(self, message: Message, task: int) -> None:
        self._messages.append((message, task))

    def take(self) -> list[tuple[Message, int]]:
        messages, self._messages = self._messages, []
        return messages


def _work(
    folder: str, mailbox: object, number: int, part: str, arguments: tuple
) -> tuple[object, object]:
    """Returns a part's result and None, or None and the line and exit code of an early end."""
    os.chdir(folder)  # paths may be relative
    messenger = Messenger(lambda message: mailbox.put.remote(message, number))
    try:
        settings = arguments[0]
        devices.import_tensorflow(settings.replicas, verbose=settings.verbose)
        from deep_net_triage.study import command

        return getattr(command, part)(*arguments, messenger), None
    except Exception as error:
        ending = endings.describe(error)
        if not ending:
            raise
        return None, ending
