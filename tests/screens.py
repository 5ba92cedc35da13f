"""A terminal for tests: what a person sees after a program has written, and programs in one."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

PIECES = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[\?\d+[hl]|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen:
    """The lines of a terminal without a lower end; it wraps as real ones do."""

    def __init__(self, columns):
        self.columns = columns
        self.lines = [""]
        self.row = self.column = 0
        self.wrapped = set()

    def feed(self, text):
        text = re.sub(r"\x1b\[[\d;]*m", "", text)
        assert "".join(match.group() for match in PIECES.finditer(text)) == text
        for match in PIECES.finditer(text):
            count, command, carriage_return, newline, written = match.groups()
            if command == "A":
                self.row -= int(count or 1)
                assert self.row >= 0
            elif command == "K":
                assert count == "2"
                self.lines[self.row] = ""
            elif carriage_return:
                self.column = 0
            elif newline:
                self._down()
                self.column = 0
            for character in written or "":
                self._put(character)
        return self

    @property
    def seen(self):
        return [line.rstrip() for line in self.lines]

    @property
    def unwrapped(self):
        """What stands on the screen, as it was before it wrapped."""
        lines = enumerate(self.lines)
        text = "".join(f"{'' if row in self.wrapped else chr(10)}{line}" for row, line in lines)
        return text.removeprefix("\n").rstrip()

    def _down(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def _put(self, character):
        if self.column == self.columns:
            self._down()
            self.column = 0
            self.wrapped.add(self.row)
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
        self.column += 1


def in_terminal(command, columns, **environment):
    """What a program writes to a terminal with so many columns, and its exit code."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    here = {name: os.environ[name] for name in os.environ.keys() - {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, *command],
        env=here | {"TERM": "xterm-256color"} | environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    written = b""
    while True:
        try:
            written += os.read(master, 65536)
        except OSError:  # the program has ended
            break
    os.close(master)
    return written.decode().replace("\r\n", "\n"), process.wait()
