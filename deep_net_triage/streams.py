"""Streams that can be written to even if nobody reads them any more, as behind `| head`."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import TextIO


class BrokenPipeSafe:
    """A stream that can be written to even if nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Writes a text, if somebody reads."""
        with self._without_reader():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Passes on what has been written, if somebody reads."""
        with self._without_reader():
            self._stream.flush()

    def isatty(self) -> bool:
        """Returns whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Returns the stream's file descriptor."""
        return self._stream.fileno()

    @contextlib.contextmanager
    def _without_reader(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # A pipe without a reader, or a terminal that was closed.
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            # What is buffered would fail again, at the latest when Python ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
