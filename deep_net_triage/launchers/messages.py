"""What processes that work on one study tell the one that a person watches."""

from collections.abc import Callable

from deep_net_triage.errors import WorkerEnded
from deep_net_triage.progress import Progress
from deep_net_triage.records.results import Epoch

# What a process sends: what it is, and what goes with it.
Message = tuple[str, tuple]
_ENDED = "ended"


class Messenger:
    """A `Progress` that sends what it is told to another process.

    Args:
        send: takes a message there.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def say(self, text: str) -> None:
        """Sends a line that stays."""
        self._send(("say", (text,)))

    def expect(self, epochs: int) -> None:
        """Sends how many epochs are left of all that the study's processes run."""
        self._send(("expect", (epochs,)))

    def epoch(self, training: str, epoch: Epoch, of: int) -> None:
        """Sends an epoch that has ended."""
        self._send(("epoch", (training, epoch, of)))

    def ended(self, ending: tuple[str, int]) -> None:
        """Sends the line and the exit code that a process ends early with."""
        self._send((_ENDED, ending))


class Board:
    """Shows in one place what several processes tell.

    What they all say, because each of them reads the images and the parent, is shown once.

    Args:
        progress: where a person watches.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: set[str] = set()
        self._ending: tuple[str, int] | None = None

    def show(self, message: Message) -> None:
        """Shows what a process has sent."""
        kind, content = message
        if kind == _ENDED:
            self._ending = self._ending or content
        elif kind != "say":
            getattr(self._progress, kind)(*content)
        elif content[0] not in self._said:
            self._said.add(content[0])
            self._progress.say(*content)

    def check(self, ended_well: bool, otherwise: str) -> None:
        """Makes sure that a part of the study came to its end.

        Args:
            ended_well: whether one of its processes did, which has then seen to all there was.
            otherwise: what to say where none told why not.

        Raises:
            WorkerEnded: if none did.
        """
        if not ended_well:
            raise WorkerEnded(*(self._ending or (otherwise, 1)))
