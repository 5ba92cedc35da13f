"""Runs several trials at once on one machine, in processes that divide it among them.

Where the user says how many, or there are GPUs, one process makes the parent, on the whole
machine. Then several processes run trials, each on its own GPU or its share of the cores.
Finally, one process writes the study's results. All processes of a part end before the next
part begins, which releases their GPU memory; the process that starts them never imports
TensorFlow.

Where the program chooses the number, one process makes the parent, waits for the trial
processes, and writes the results. The trial processes import TensorFlow while it trains.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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

# Processes, by the connection on which each receives its arguments and sends messages.
_Workers = dict[Connection, multiprocessing.Process]


def run(settings: Settings, command: str, progress: Progress) -> int:
    """Runs a study with several trials at once, and returns the number of failed trials.

    Raises:
        WorkerEnded: if all processes of a part of the study end early.
    """
    started = time.time()
    board, everything = Board(progress), (settings, command, started)
    work = _alone("make_parent", settings, everything, board)
    with ready_to_run_trials(settings, board, settings.parallel_trials) as run_trials:
        run_trials(work)
    return _alone("finish", settings, everything, board)


@contextlib.contextmanager
def ready_to_run_trials(
    settings: Settings, board: Board, count: int
) -> Iterator[Callable[[dict[int, int | None]], None]]:
    """Starts processes that import TensorFlow, and then wait for the trials of a study.

    Yields:
        A function that takes what `study.command.make_parent` returns, runs the trials, and
        returns when all processes have ended. It raises WorkerEnded if all of them end early.
    """
    folder = settings.activation_dir or settings.folder
    activations = files.unfinished_name(folder / "activations")
    shares = [Share(index, count) for index in range(count)]
    with _working("run_trials", settings, shares) as workers:

        def run_trials(work: dict[int, int | None]) -> None:
            given = [(settings, activations, work, None, share) for share in shares]
            try:
                _together(workers, given, board)
            finally:
                shutil.rmtree(activations, ignore_errors=True)

        yield run_trials


def _alone(part: str, settings: Settings, arguments: tuple, board: Board) -> object:
    """Runs a part of a study in one process, and returns its result."""
    with _working(part, settings, [WHOLE]) as workers:
        return _together(workers, [arguments], board)[0]


def _together(workers: _Workers, arguments: Sequence[tuple], board: Board) -> list[object]:
    """Runs a part of a study in processes that are ready, and returns their results.

    Args:
        workers: the processes, which run a function of `study.command`.
        arguments: for each of them, the function's arguments but the last, a messenger.
        board: shows their messages.
    """
    board.begin()
    for connection, given in zip(workers, arguments, strict=True):
        with contextlib.suppress(OSError):  # it was killed, which `_results` says
            connection.send(given)
    returned = _results(dict(workers), board)
    board.check(bool(returned), "all processes ended without a result; run the command again")
    return returned


@contextlib.contextmanager
def _working(part: str, settings: Settings, shares: Sequence[Share]) -> Iterator[_Workers]:
    """Starts processes, one for each share of the machine, which end when the context does."""
    workers = {}
    try:
        for share in shares:
            ours, theirs = _CONTEXT.Pipe()
            worker = _CONTEXT.Process(target=_work, args=(theirs, share, part, settings))
            with _interrupts_ignored():
                worker.start()
            workers[ours] = worker
            theirs.close()
        yield workers
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.join()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignores Ctrl-C, as do processes that are started meanwhile, from their first moment."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _results(running: dict[Connection, multiprocessing.Process], board: Board) -> list[object]:
    """Shows the messages of processes until all have ended, and returns their results."""
    returned = []
    # From 1: the process that started them may run trials, too.
    numbers = {connection: number for number, connection in enumerate(running, 1)}
    while running:
        for connection in wait(list(running)):
            try:
                kind, content = connection.recv()
            # A process that ends before it has read what was sent to it resets the connection.
            except (EOFError, ConnectionResetError):
                worker = running.pop(connection)
                worker.join()
                number = numbers[connection]
                board.ended(number, others=bool(running))
                if worker.exitcode < 0:
                    name = signal.Signals(-worker.exitcode).name
                    board.show(("say", (f"process {worker.pid} was killed ({name})",)), number)
                continue
            if kind == "returned":
                returned.append(content)
            else:
                board.show((kind, content), numbers[connection])
    return returned


def _work(connection: Connection, share: Share, part: str, settings: Settings) -> None:
    """Runs a part of the study in this process, and sends its result or its early end.

    The process was started so that it ignores Ctrl-C, which its parent process handles.

    Args:
        connection: on which the function's arguments come once it may run.
        share: of the machine.
        part: the name of the function of `study.command`.
        settings: of the command.
    """
    threading.Thread(target=_end_with_parent_process, daemon=True).start()
    messenger = Messenger(connection.send)
    try:
        with endings.terminable():
            devices.bind_to_share(share, settings.deterministic)
            devices.import_tensorflow(settings.replicas, share, settings.verbose)
            from deep_net_triage.study import command

            returned = getattr(command, part)(*connection.recv(), messenger)
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
