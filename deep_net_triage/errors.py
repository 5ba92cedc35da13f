"""The two ways in which a study ends early, each with a message for the person who runs it."""


class InputError(ValueError):
    """What was asked for can't be done; the message names the thing and says what is allowed.

    The command line prints it as one line and exits with code 2, before anything is written.
    """


class TrainingFailed(RuntimeError):  # noqa: N818, the name says what happened, not that it raises
    """A training whose loss is no longer finite; the message says where it happened."""
