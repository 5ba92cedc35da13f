"""The program: `run_triage.py`, `deep-net-triage` and `python -m deep_net_triage` run it."""

import functools
import shlex
import sys

from deep_net_triage import devices
from deep_net_triage.commands import command_line, endings, flagfiles, program
from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import InputError
from deep_net_triage.launchers import ray_cluster, workers
from deep_net_triage.launchers.messages import Board, Messenger
from deep_net_triage.progress import Progress
from deep_net_triage.streams import BrokenPipeSafe
from deep_net_triage.wording import counted


def main(arguments: list[str]) -> int:
    """Runs a command line, and returns the process's exit code.

    The code is 0 if every trial finished, 1 after a failure, and 2 for bad input.
    """
    if "--help" in arguments or "-h" in arguments:
        help_text = command_line.help_text(arguments, flagfiles.packaged())
        print(help_text, file=BrokenPipeSafe(sys.stdout), flush=True)
        return 0
    try:
        with endings.terminable():
            failed = _run(arguments)
    except BaseException as error:
        ending = endings.describe(error)
        if not ending:
            raise
        message, code = ending
        program.print_error(message)
        return code
    if failed:
        trials = counted(failed, "trial")
        program.print_error(
            f"{trials} failed; the reason is in result.json in each one's folder"
        )
    return 1 if failed else 0


def console() -> int:
    """Runs the command line of this process, and returns its exit code."""
    return endings.in_address_space(lambda: main(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    chosen = command_line.parse(arguments, flagfiles.packaged())
    with Progress() as progress:
        progress.say(f"{chosen.dataset}: starting TensorFlow")
        return _start(chosen, arguments, progress)


def _start(chosen: Settings, arguments: list[str], progress: Progress) -> int:
    typed = shlex.join([*program.name().split(), *arguments])
    runs = not (chosen.list_blocks or chosen.estimate)
    if runs and chosen.launcher == "ray":
        return ray_cluster.run(chosen, typed, progress)
    if runs and (chosen.parallel_trials or 1) > 1:
        return workers.run(chosen, typed, progress)
    devices.import_tensorflow(chosen.replicas, verbose=chosen.verbose)
    from deep_net_triage.study import command, listing

    quick = _quick(arguments)
    if chosen.list_blocks:
        listing.list_blocks(chosen, progress)
    elif chosen.estimate:
        command.estimate(chosen, progress, quick)
    if not runs:
        return 0
    board = Board(progress)
    start = functools.partial(workers.ready_to_run_trials, chosen, board)
    shown = Messenger(board.show)
    return command.run(chosen, typed, shown, start_workers=start, quick=quick)


def _quick(arguments: list[str]) -> tuple[str, Settings] | None:
    """Returns the flag that makes a study small, and the settings with it.

    It is None if flags on the command line contradict those of the file.
    """
    flag = "--flagfile=flags/small.flags"
    try:
        return flag, command_line.parse([*arguments, flag], flagfiles.packaged())
    except InputError:
        return None


if __name__ == "__main__":
    sys.exit(console())
