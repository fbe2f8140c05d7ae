"""Cuts a message of the feed into its rows, where it has nothing but these and its time, without protobuf."""

from __future__ import annotations

#: A field's tag is 8 * number + kind: the kind of message, which for a feed of changes is 1; a row; the time.
_CHANGES = b"\x08\x01"
_ROW = 0x12
_TIME = 0x18
#: A number has seven bits a byte, the lowest first; with more bytes it may be negative.
_LONGEST_TIME = 9


def feed_rows(message: bytes) -> tuple[list[bytes], int] | None:
    """Return the rows and the time in epoch ms, which is 0 where it is not told: what protobuf reads as well.

    None says that protobuf has to read it. That makes two copies of each row, and objects beside them.
    """
    rows: list[bytes] = []
    size = len(message)
    at = len(_CHANGES) if message.startswith(_CHANGES) else 0
    try:
        while at < size and message[at] == _ROW:
            length, begin = message[at + 1], at + 2
            if length > 127:
                more = message[begin]
                if more > 127:
                    return None
                length += more * 128 - 128
                begin += 1
            at = begin + length
            rows.append(message[begin:at])
        if at == size:
            return rows, 0
        time = message[at + 1 :]
        if message[at] != _TIME or not 0 < len(time) <= _LONGEST_TIME or time[-1] > 127:
            return None
    except IndexError:  # it ends too early
        return None
    told = 0
    for number, seven in enumerate(time[:-1]):
        if seven < 128:
            return None
        told |= (seven & 127) << 7 * number
    return rows, told | time[-1] << 7 * (len(time) - 1)
