"""Runs a study: `python run_triage.py --dataset=stanford_dogs --method=cl_rw`."""

import functools
import shlex
import sys
from pathlib import Path

from deep_net_triage import devices
from deep_net_triage.commands import command_line, endings
from deep_net_triage.commands.settings import Settings
from deep_net_triage.launchers import ray_cluster, workers
from deep_net_triage.launchers.messages import Board, Messenger
from deep_net_triage.progress import Lasting, Progress

FLAGS_DIR = Path(__file__).resolve().parent / "flags"


def main(arguments: list[str]) -> int:
    """Runs a command line, and returns the process's exit code.

    The code is 0 if every trial finished, 1 after a failure, and 2 for bad input.
    """
    if "--help" in arguments or "-h" in arguments:
        print(f"{__doc__}\n{command_line.help_text()}", file=Lasting(sys.stdout), flush=True)
        return 0
    try:
        with endings.terminable():
            failed = _run(arguments)
    except BaseException as error:
        ending = endings.describe(error)
        if not ending:
            raise
        message, code = ending
        print(f"run_triage.py: {message}", file=Lasting(sys.stderr))
        return code
    if failed:
        message = f"run_triage.py: {failed} trials failed; see their result.json"
        print(message, file=Lasting(sys.stderr))
    return 1 if failed else 0


def _run(arguments: list[str]) -> int:
    chosen = command_line.parse(arguments, FLAGS_DIR)
    with Progress() as progress:
        progress.say(f"{chosen.dataset}: starting TensorFlow")
        return _start(chosen, arguments, progress)


def _start(chosen: Settings, arguments: list[str], progress: Progress) -> int:
    typed = shlex.join(["run_triage.py", *arguments])
    runs = not (chosen.list_blocks or chosen.estimate)
    if runs and chosen.launcher == "ray":
        return ray_cluster.run(chosen, typed, progress)
    if runs and (chosen.parallel_trials or 1) > 1:
        return workers.run(chosen, typed, progress)
    devices.import_tensorflow(chosen.replicas, verbose=chosen.verbose)
    from deep_net_triage.study import command

    file = FLAGS_DIR / "small.flags"
    smaller = f"--flagfile={file}", command_line.parse([*arguments, f"--flagfile={file}"])
    if chosen.list_blocks:
        command.list_blocks(chosen, progress)
    elif chosen.estimate:
        command.estimate(chosen, progress, smaller)
    if not runs:
        return 0
    board = Board(progress)
    company = functools.partial(workers.beside, chosen, board)
    return command.run(chosen, typed, Messenger(board.show), company=company, smaller=smaller)


if __name__ == "__main__":
    sys.exit(endings.in_address_space(lambda: main(sys.argv[1:])))
