"""Messages from the processes that run a study to the process that the user watches."""

from collections.abc import Callable

from deep_net_triage.errors import WorkerEnded
from deep_net_triage.progress import Progress
from deep_net_triage.records.results import Epoch

# The name of a method of `Progress`, or `ended`, and its arguments.
Message = tuple[str, tuple]
_ENDED = "ended"


class Messenger:
    """Has the methods of `Progress`, and sends their arguments to another process.

    Args:
        send: sends a message.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def say(self, text: str) -> None:
        """Sends a line to print."""
        self._send(("say", (text,)))

    def expect(self, epochs: int) -> None:
        """Sends the number of epochs that all processes of the study have left."""
        self._send(("expect", (epochs,)))

    def epoch(self, training: str, epoch: Epoch, of: int) -> None:
        """Sends a finished epoch."""
        self._send(("epoch", (training, epoch, of)))

    def ended(self, ending: tuple[str, int]) -> None:
        """Sends the line and the exit code with which a process ends early."""
        self._send((_ENDED, ending))


class Board:
    """Shows the messages of several processes in one place.

    A line that several processes send, such as that they read the images, is shown once.

    Args:
        progress: prints the messages.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: set[str] = set()
        self._ending: tuple[str, int] | None = None

    def show(self, message: Message) -> None:
        """Shows a message; remembers the first process that ended early."""
        kind, content = message
        if kind == _ENDED:
            self._ending = self._ending or content
        elif kind != "say":
            getattr(self._progress, kind)(*content)
        elif content[0] not in self._said:
            self._said.add(content[0])
            self._progress.say(*content)

    def check(self, ended_well: bool, otherwise: str) -> None:
        """Raises WorkerEnded unless a process has finished its part of the study.

        Args:
            ended_well: whether one has; it has then waited for the work of the others.
            otherwise: the error's message if no process has sent a reason.
        """
        if not ended_well:
            raise WorkerEnded(*(self._ending or (otherwise, 1)))
