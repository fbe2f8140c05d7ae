"""An instrument list that is one JSON array, of 50 MB for instance, read without holding up the loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from brokerpool.brokers.instrument_list_file import Entry, LoadedInstruments, enter, unpacked
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import TokenBook

Row = TypeVar("Row")

#: A row without an end must not fill the memory.
_LONGEST_ROW = 64 * 1024
_BETWEEN_ROWS = re.compile(rb"(?<=\})\s*,\s*(?=\{)")


async def load_json(
    dump: bytes | bytearray, shape: type[Row], read: Callable[[Row], Entry]
) -> LoadedInstruments:
    """Return the instruments of a JSON array of flat objects, gzipped or not, a few dozen rows a turn.

    `read` gets one row in its `shape`. A row that is not so shaped, or for which `read` raises ValueError, is
    counted and left out, as is one whose name or token an earlier row has taken. Raises BrokerError when the
    file is cut off or has no usable row.
    """
    rows = _Rows(shape, read)
    rest = b""
    for piece in unpacked(dump):
        # Rows have no objects inside, so that the last brace of a piece is the end of a row.
        whole, brace, rest = (rest + piece).rpartition(b"}")
        if brace:
            rows.read(whole + brace)
        elif len(rest) > _LONGEST_ROW:
            rows.skipped += 1
            rest = b""
        await asyncio.sleep(0)
    if not len(rows.book):
        raise _fault(f"The instrument list has no usable row; {rows.skipped} could not be read.")
    if rest.strip() != b"]":
        raise _fault(f"The instrument list is cut off after {len(dump)} bytes.")
    return LoadedInstruments(rows.book, rows.skipped)


class _Rows(Generic[Row]):
    """The rows read so far."""

    def __init__(self, shape: type[Row], entry: Callable[[Row], Entry]) -> None:
        self.book = TokenBook()
        self.skipped = 0
        self._one = msgspec.json.Decoder(shape)
        # A type that is made of a variable: msgspec reads it, and no type checker can.
        self._many = msgspec.json.Decoder(list[shape])  # type: ignore[valid-type]
        self._entry = entry

    def read(self, text: bytes) -> None:
        begin = text.find(b"{")
        if begin < 0:
            self.skipped += 1
            return
        for row in self._decoded(text[begin:]):
            try:
                enter(self.book, *self._entry(row))
            except ValueError:
                self.skipped += 1

    def _decoded(self, text: bytes) -> Iterable[Row]:
        try:
            return self._many.decode(b"[%b]" % text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._one_by_one(text)

    def _one_by_one(self, text: bytes) -> Iterable[Row]:
        """A row that cannot be read costs itself and not those beside it."""
        for row in _BETWEEN_ROWS.split(text):
            try:
                yield self._one.decode(row)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.skipped += 1


def _fault(message: str) -> BrokerError:
    return BrokerError(message, code=ErrorCode.BROKER_UNREACHABLE)
