"""Errors that end a study early, with messages for its user."""


class InputError(ValueError):
    """A command can't be run; the message names what is wrong and says what is allowed.

    The command line prints the message as one line and exits with code 2.
    """


class DamagedFile(InputError):  # noqa: N818, like the names below
    """A file has changed since this program wrote it."""


class TrainingFailed(RuntimeError):  # noqa: N818
    """A training failed; the message is the reason."""


class ExportFailed(RuntimeError):  # noqa: N818
    """A model could not be exported, or its export failed a check."""


class LockLost(RuntimeError):  # noqa: N818
    """Another process took over this one's lock, after it had missed its heartbeats."""


class WorkerEnded(RuntimeError):  # noqa: N818
    """All processes of a part of a study ended early; the message is the first one's.

    Attributes:
        code: the exit code of the command.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Terminated(BaseException):  # noqa: N818
    """The process received SIGTERM; like KeyboardInterrupt, this is not an `Exception`."""
