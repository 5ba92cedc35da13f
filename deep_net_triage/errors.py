"""The ways in which a study ends early, each with a message for the person who runs it."""


class InputError(ValueError):
    """What was asked for can't be done; the message names the thing and says what is allowed.

    The command line prints it as one line and exits with code 2, before anything is written.
    """


class DamagedFile(InputError):  # noqa: N818, the name says what is wrong, as below
    """A file that was written here and does not hold that any more."""


class TrainingFailed(RuntimeError):  # noqa: N818, the name says what happened, not that it raises
    """A training that gave no result to be trusted; the message says what is wrong with it."""


class LockLost(RuntimeError):  # noqa: N818
    """Another process took over what this one was working on, having seen no sign of life."""


class WorkerEnded(RuntimeError):  # noqa: N818
    """All processes that worked on a part of a study ended early; the first's line and code.

    Attributes:
        code: the exit code that it stands for.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Terminated(BaseException):  # noqa: N818
    """The system asks the process to end (SIGTERM); like Ctrl-C it passes every `except`."""
