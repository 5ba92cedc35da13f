"""Several trials at once on one machine, in processes that each have their share of it.

First one process makes the parent, with all of the machine. Then each of several takes trials
that no other has, on a GPU of its own, or on its share of the processor's cores. At last one
writes what the study ends in. Each ends before the next part begins, and with it what it had of
a GPU's memory. This process itself never touches TensorFlow.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time
from multiprocessing.connection import Connection, wait

from deep_net_triage import devices
from deep_net_triage.commands import endings
from deep_net_triage.commands.settings import Settings
from deep_net_triage.devices import Share
from deep_net_triage.launchers.messages import Board, Messenger
from deep_net_triage.progress import Progress
from deep_net_triage.records import files

# Never forked: what TensorFlow holds does not survive that.
_CONTEXT = multiprocessing.get_context("spawn")
_WHOLE = Share(0, 1)


def run(settings: Settings, command: str, progress: Progress) -> int:
    """Runs a study with several trials at once, and returns how many failed.

    Args:
        settings: what to run, how many trials at once, and where results go.
        command: what was typed, for the record.
        progress: where a person watches.

    Raises:
        WorkerEnded: if the parent, all that run trials, or the end of the study came to none.
    """
    started = time.time()
    kept = files.unfinished_name((settings.activation_dir or settings.folder) / "activations")
    shares = [Share(i, settings.parallel_trials) for i in range(settings.parallel_trials)]
    board = Board(progress)
    try:
        work = _together("make_parent", (settings, command, started), [_WHOLE], board)
        _together("run_trials", (settings, kept, work, None), shares, board)
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    return _together("finish", (settings, command, started), [_WHOLE], board)


def _together(part: str, arguments: tuple, shares: list[Share], board: Board) -> object:
    """Runs a part of the study in a process a share, and returns what one of them returned."""
    workers, ends = [], {}
    try:
        for share in shares:
            here, there = _CONTEXT.Pipe(duplex=False)
            worker = _CONTEXT.Process(target=_work, args=(there, share, part, arguments))
            worker.start()
            there.close()
            workers.append(worker)
            ends[here] = worker
        returned = _listened(ends, board)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
    board.check(bool(returned), f"every process that was to {part} was killed")
    return returned[0]


def _listened(ends: dict[Connection, multiprocessing.Process], board: Board) -> list[int]:
    """Shows what processes send until the last has ended, and returns what those returned."""
    returned = []
    while ends:
        for connection in wait(list(ends)):
            try:
                kind, content = connection.recv()
            except EOFError:
                worker = ends.pop(connection)
                worker.join()
                if worker.exitcode < 0:
                    name = signal.Signals(-worker.exitcode).name
                    board.show(("say", (f"process {worker.pid} was killed ({name})",)))
                continue
            if kind == "returned":
                returned.append(content)
            else:
                board.show((kind, content))
    return returned


def _work(connection: Connection, share: Share, part: str, arguments: tuple) -> None:
    """Runs a part of the study in this process, which was made for that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that made this one decides
    threading.Thread(target=_follow, daemon=True).start()
    settings = arguments[0]
    messenger = Messenger(connection.send)
    try:
        with endings.terminable():
            devices.take(share, settings.deterministic)
            devices.import_tensorflow(settings.replicas, share)
            from deep_net_triage.study import command

            returned = getattr(command, part)(*arguments, messenger)
            connection.send(("returned", returned))
    except BaseException as error:
        ending = endings.describe(error)
        if not ending:
            raise
        with contextlib.suppress(OSError):  # nobody listens any more
            messenger.ended(ending)
        os._exit(ending[1])


def _follow() -> None:
    """Ends this process when the one that made it has ended, however that did."""
    multiprocessing.parent_process().join()
    os._exit(1)
