"""Runs several trials at once on one machine, in processes that divide it among them.

Where the user says how many, or there are GPUs, one process makes the parent, on the whole
machine. Then several processes run trials, each on its own GPU or its share of the cores.
Finally, one process writes the study's results. All processes of a part end before the next
part begins, which releases their GPU memory; the process that starts them never imports
TensorFlow.

Where the program chooses the number, one process makes the parent, waits for those that run
trials, and writes the results.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait

from deep_net_triage import devices
from deep_net_triage.commands import endings
from deep_net_triage.commands.settings import Settings
from deep_net_triage.devices import WHOLE, Share
from deep_net_triage.launchers.messages import Board, Messenger
from deep_net_triage.progress import Progress
from deep_net_triage.records import files

# Not forked, because TensorFlow does not survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")


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
    board, everything = Board(progress), (settings, command, started)
    work = _together("make_parent", [(WHOLE, everything)], board)
    run_trials(settings, board, work, settings.parallel_trials)
    return _together("finish", [(WHOLE, everything)], board)


def run_trials(
    settings: Settings, board: Board, work: dict[int, int | None], count: int
) -> None:
    """Runs the trials of a study whose parent this process has made, while it waits.

    Args:
        settings: the command's.
        board: shows the messages of the processes.
        work: as `study.command.make_parent` returns it.
        count: the number of processes.

    Raises:
        WorkerEnded: if all of them end early.
    """
    folder = settings.activation_dir or settings.folder
    activations = files.unfinished_name(folder / "activations")
    arguments = settings, activations, work, None
    shares = [Share(index, count) for index in range(count)]
    try:
        _together("run_trials", [(share, (*arguments, share)) for share in shares], board)
    finally:
        shutil.rmtree(activations, ignore_errors=True)


def _together(part: str, work: list[tuple[Share, tuple]], board: Board) -> object:
    """Runs a part of a study in several processes, and returns the first result."""
    with _working(part, work) as workers:
        returned = _results(dict(workers), board)
    board.check(bool(returned), f"every process that was to {part} was killed")
    return returned[0]


@contextlib.contextmanager
def _working(
    part: str, work: list[tuple[Share, tuple]]
) -> Iterator[dict[Connection, multiprocessing.Process]]:
    """Runs a function of `study.command` in processes, which end when the context does.

    Args:
        part: the function's name.
        work: for each process, its share of the machine and the function's arguments but the
            last, which is a messenger.

    Yields:
        The processes, by the connection on which each sends its messages.
    """
    workers = {}
    try:
        for share, arguments in work:
            receiver, sender = _CONTEXT.Pipe(duplex=False)
            worker = _CONTEXT.Process(target=_work, args=(sender, share, part, arguments))
            worker.start()
            workers[receiver] = worker
            sender.close()
        yield workers
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.join()


def _results(running: dict[Connection, multiprocessing.Process], board: Board) -> list[object]:
    """Shows the messages of processes until all have ended, and returns their results."""
    returned = []
    # From 1: the process that started them may run trials, too.
    numbers = {connection: number for number, connection in enumerate(running, 1)}
    while running:
        for connection in wait(list(running)):
            try:
                kind, content = connection.recv()
            except EOFError:
                worker = running.pop(connection)
                worker.join()
                number = numbers[connection]
                board.idle(number)
                if worker.exitcode < 0:
                    name = signal.Signals(-worker.exitcode).name
                    board.show(("say", (f"process {worker.pid} was killed ({name})",)), number)
                continue
            if kind == "returned":
                returned.append(content)
            else:
                board.show((kind, content), numbers[connection])
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
            devices.import_tensorflow(settings.replicas, share, settings.verbose)
            from deep_net_triage.study import command

            returned = getattr(command, part)(*arguments, messenger)
            connection.send(("returned", returned))
    except BaseException as error:
        ending = endings.describe(error)
        if not ending:
            raise
        with contextlib.suppress(OSError):  # the parent process has ended
            messenger.failed(ending)
        os._exit(ending[1])


def _end_with_parent_process() -> None:
    """Ends this process as soon as its parent process has ended, for whatever reason."""
    multiprocessing.parent_process().join()
    os._exit(1)
