"""The ways in which a study ends early, each with a message for the person who runs it."""


class InputError(ValueError):
    """A command that can't be run; the message names the thing and says what is allowed.

    The command line prints it as one line and exits with code 2, before anything is written.
    """


class DamagedFile(InputError):  # noqa: N818, the name says what is wrong, as below
    """A file that has changed since this program wrote it."""


class TrainingFailed(RuntimeError):  # noqa: N818
    """A training whose result can't be trusted; the message says why."""


class ExportFailed(RuntimeError):  # noqa: N818
    """An exported model that returns other values than the original."""


class LockLost(RuntimeError):  # noqa: N818
    """Another process took over this one's work, because it had seen no sign of life."""


class WorkerEnded(RuntimeError):  # noqa: N818
    """All processes that worked on a part of a study ended early; the first one's message.

    Attributes:
        code: the exit code to end with.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Terminated(BaseException):  # noqa: N818
    """The system asks the process to end (SIGTERM); like Ctrl-C it passes every `except`."""
