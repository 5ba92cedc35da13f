"""Runs a study: `python run_triage.py --dataset=stanford_dogs --method=cl_rw`."""

import shlex
import sys
from pathlib import Path

from deep_net_triage import devices
from deep_net_triage.commands import endings, settings
from deep_net_triage.launchers import ray_cluster, workers
from deep_net_triage.progress import Progress

FLAGS_DIR = Path(__file__).resolve().parent / "flags"


def main(arguments: list[str]) -> int:
    """Runs what the command line asks for, and returns the process's exit code.

    It is 0 when every trial finished, 1 when something failed on the way, and 2 for bad input.
    """
    if "--help" in arguments or "-h" in arguments:
        print(f"{__doc__}\n{settings.help_text()}")
        return 0
    try:
        with endings.terminable():
            failed = _run(arguments)
    except BaseException as error:
        ending = endings.describe(error)
        if not ending:
            raise
        message, code = ending
        print(f"run_triage.py: {message}", file=sys.stderr)
        return code
    if failed:
        print(f"run_triage.py: {failed} trials failed; see their result.json", file=sys.stderr)
    return 1 if failed else 0


def _run(arguments: list[str]) -> int:
    asked = settings.from_command_line(arguments, FLAGS_DIR)
    typed, progress = shlex.join(["run_triage.py", *arguments]), Progress()
    progress.say(f"{asked.dataset}: starting TensorFlow")
    if not asked.list_blocks and asked.launcher == "ray":
        return ray_cluster.run(asked, typed, progress)
    if not asked.list_blocks and asked.parallel_trials > 1:
        return workers.run(asked, typed, progress)
    devices.import_tensorflow(asked.replicas)
    from deep_net_triage.study import command

    if asked.list_blocks:
        command.list_blocks(asked, progress)
        return 0
    return command.run(asked, typed, progress)


if __name__ == "__main__":
    sys.exit(endings.in_address_space(lambda: main(sys.argv[1:])))
