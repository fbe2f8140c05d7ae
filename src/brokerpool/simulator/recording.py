"""Recorded broker frames in a file: written line by line, read back in bounded memory.

A tape is UTF-8 text, one JSON object a line. The first line is the header::

    {"tape": 1, "broker": NAME, "instruments": [[408065, "NSE", "INFY"], ...]}

`instruments` (token, exchange, tradingsymbol; may be empty) lets the simulator list what the recording
contains. Every other line is one binary message as it came over the wire: milliseconds since the start
of the recording, and the bytes in base64::

    {"ms": 1250, "frame": "AAEALAAGOgEAAma6..."}

Only frames of market data belong on a tape: a broker's URL and its headers carry secrets.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, Literal, Self

import msgspec

#: A line longer than this is not read as one.
MAX_LINE_BYTES = 4 * 1024 * 1024


_Token = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Recorded(msgspec.Struct, gc=False):
    """One recorded message."""

    ms: Annotated[float, msgspec.Meta(ge=0)]
    frame: bytes


class Header(msgspec.Struct):
    """What a tape contains."""

    tape: Literal[1] = 1
    #: Whose wire the frames are of; None when nobody says.
    broker: str | None = None
    instruments: list[tuple[_Token, str, str]] = []


class TapeWriter:
    """Writes a tape; use it as a context manager."""

    def __init__(self, path: Path, header: Header) -> None:
        self._file = path.open("wb")
        self._write(header)

    def write(self, ms: float, frame: bytes | memoryview) -> None:
        """Append one message, `ms` milliseconds after the recording's start."""
        self._write(Recorded(ms, bytes(frame)))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: Header | Recorded) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")


class TapeReader:
    """Reads a tape from its start, as often as asked; holds one batch of lines at a time."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises OSError, and ValueError when the first line is not a tape's header."""
        self._path = path
        self._file: BinaryIO | None = None
        with path.open("rb") as file:
            try:
                self.header = msgspec.json.decode(file.readline(MAX_LINE_BYTES), type=Header)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise ValueError(f"{path} is not a tape: its first line is no header ({error})") from None
        #: Lines left out because they are damaged.
        self.bad_lines = 0

    def take(self, count: int) -> list[Recorded]:
        """Return the next messages, at most `count`, without damaged lines.

        An empty list means the end; the call after it starts over.
        """
        if self._file is None:
            self._file = self._path.open("rb")
            self._file.readline(MAX_LINE_BYTES)
        messages = list(itertools.islice(self._messages(self._file), count))
        if not messages:
            self.close()
        return messages

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _messages(self, file: BinaryIO) -> Iterator[Recorded]:
        for line in _lines(file):
            try:
                yield msgspec.json.decode(line, type=Recorded)
            except (msgspec.MsgspecError, RecursionError):
                self.bad_lines += 1


def _lines(file: BinaryIO) -> Iterable[bytes]:
    # Not the file's own iterator: that one has no limit, and reads ahead of what is taken.
    while line := file.readline(MAX_LINE_BYTES):
        if not line.isspace():
            yield line
