"""Messages from the processes that run a study to the process that the user watches."""

from collections.abc import Callable, Iterable

from deep_net_triage.errors import WorkerEnded
from deep_net_triage.forecast import ExpectedTraining
from deep_net_triage.progress import Progress
from deep_net_triage.records.results import Epoch
from deep_net_triage.steps import Step

# The name of a method of `Progress`, or `failed`, and its arguments.
Message = tuple[str, tuple]
_FAILED = "failed"
# Methods that change the row of the process that sends.
_WITH_A_ROW = ("epoch", "step")


class Messenger:
    """Has the methods of `Progress`, and sends their arguments to another process."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def say(self, text: str) -> None:
        """Sends a line to print."""
        self._send(("say", (text,)))

    def expect(
        self,
        trainings: Iterable[ExpectedTraining],
        side_by_side: int = 1,
        afterwards: float = 0.0,
    ) -> None:
        """Sends which trainings are to run, how many at once, and how long others then take."""
        self._send(("expect", (tuple(trainings), side_by_side, afterwards)))

    def afterwards(self, training: ExpectedTraining) -> None:
        """Sends the training that runs now, after all that were expected."""
        self._send(("afterwards", (training,)))

    def keep(self, names: Iterable[str]) -> None:
        """Sends the names of all trainings of the study that have not ended."""
        self._send(("keep", (tuple(names),)))

    def epoch(self, training: str, epoch: Epoch, of: int) -> None:
        """Sends a finished epoch."""
        self._send(("epoch", (training, epoch, of)))

    def step(self, name: str, step: Step) -> None:
        """Sends how far an epoch, or other work, has come."""
        self._send(("step", (name, step)))

    def ended(self, training: str, seconds: float) -> None:
        """Sends how long a training took."""
        self._send(("ended", (training, seconds)))

    def failed(self, ending: tuple[str, int]) -> None:
        """Sends the line and the exit code with which a process ends early."""
        self._send((_FAILED, ending))


class Board:
    """Shows the messages of several processes in one place.

    A line that several processes send, such as that they read the images, is shown once.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: set[str] = set()
        # By process: the line and the exit code with which it ended early.
        self._endings: dict[int, tuple[str, int]] = {}

    def begin(self) -> None:
        """Forgets how processes of an earlier part of the study ended."""
        self._endings.clear()

    def show(self, message: Message, process: int = 0) -> None:
        """Shows a message; remembers which processes ended early, and why."""
        kind, content = message
        if kind == _FAILED:
            self._endings.setdefault(process, content)
        elif kind in _WITH_A_ROW:
            getattr(self._progress, kind)(*content, process)
        elif kind != "say":
            getattr(self._progress, kind)(*content)
        elif content[0] not in self._said:
            self._said.add(content[0])
            self._progress.say(*content, process)

    def ended(self, process: int, others: bool) -> None:
        """Shows that a process has ended and, if others go on, why it ended early."""
        self._progress.idle(process)
        reason, code = self._endings.get(process, ("", 0))
        # A refusal ends every process, and is shown once, at the end.
        if others and code == 1:
            self._progress.say(f"process {process} ended ({reason}); the others go on")

    def check(self, ended_well: bool, otherwise: str) -> None:
        """Raises WorkerEnded unless a process has finished its part of the study.

        Args:
            ended_well: whether one has; it has then waited for the work of the others.
            otherwise: the error's message if no process has sent a reason.
        """
        if not ended_well:
            raise WorkerEnded(*next(iter(self._endings.values()), (otherwise, 1)))
