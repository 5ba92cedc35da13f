"""Runs several trials at once on one machine, in processes that divide it among them.

First, one process makes the parent, on the whole machine. Then several processes run trials,
each on its own GPU or its share of the cores. Finally, one process writes the study's results.
All processes of a part end before the next part begins, which releases their GPU memory. This
process itself never imports TensorFlow.
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

# Not forked, because TensorFlow does not survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")
_WHOLE = Share(0, 1)


def run(settings: Settings, command: str, progress: Progress) -> int:
    """Runs a study with several trials at once, and returns the number of failed trials.

    Args:
        settings: the command's settings, with the number of trials at once.
        command: the command line as typed, for `study.json`.
        progress: prints the messages of all processes.

    Raises:
        WorkerEnded: if all processes of a part of the study end early.
    """
    started = time.time()
    folder, count = settings.activation_dir or settings.folder, settings.parallel_trials
    activations = files.unfinished_name(folder / "activations")
    shares = [Share(index, count) for index in range(count)]
    board = Board(progress)
    try:
        work = _together("make_parent", (settings, command, started), [_WHOLE], board)
        _together("run_trials", (settings, activations, work, None), shares, board)
    finally:
        shutil.rmtree(activations, ignore_errors=True)
    return _together("finish", (settings, command, started), [_WHOLE], board)


def _together(part: str, arguments: tuple, shares: list[Share], board: Board) -> object:
    """Runs a function of `study.command` in one process per share; returns the first result.

    The function gets a messenger to the board as its last argument.
    """
    workers = {}
    try:
        for share in shares:
            receiver, sender = _CONTEXT.Pipe(duplex=False)
            worker = _CONTEXT.Process(target=_work, args=(sender, share, part, arguments))
            worker.start()
            workers[receiver] = worker
            sender.close()
        returned = _results(dict(workers), board)
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.join()
    board.check(bool(returned), f"every process that was to {part} was killed")
    return returned[0]


def _results(running: dict[Connection, multiprocessing.Process], board: Board) -> list[object]:
    """Shows the messages of processes until all have ended, and returns their results."""
    returned = []
    while running:
        for connection in wait(list(running)):
            try:
                kind, content = connection.recv()
            except EOFError:
                worker = running.pop(connection)
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
    """Runs a part of the study in this process, and sends its result or its early end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    threading.Thread(target=_end_with_parent_process, daemon=True).start()
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
        with contextlib.suppress(OSError):  # the parent process has ended
            messenger.ended(ending)
        os._exit(ending[1])


def _end_with_parent_process() -> None:
    """Ends this process as soon as its parent process has ended, for whatever reason."""
    multiprocessing.parent_process().join()
    os._exit(1)
