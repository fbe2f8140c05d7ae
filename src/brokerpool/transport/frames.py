"""RFC 6455 in memory: finished server frames, and messages put together from the frames of a peer."""

from __future__ import annotations

import codecs
import struct

TEXT = 0x1
BINARY = 0x2
CONTINUATION = 0x0

_LENGTH_16 = struct.Struct(">BBH").pack
_LENGTH_64 = struct.Struct(">BBQ").pack
_new_utf8_decoder = codecs.getincrementaldecoder("utf-8")

# Close codes (RFC 6455 section 7.4) that this side sends.
NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
INVALID_TEXT = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
# Reported, never sent: a close frame without a code, and a connection that ended without a close frame.
NO_CODE = 1005
ABNORMAL = 1006


def may_be_sent(code: int) -> bool:
    """Tell whether RFC 6455 section 7.4 and its registry allow the code in a close frame."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return the payload as one unmasked, unfragmented frame, ready for any number of clients."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return _LENGTH_16(0x80 | opcode, 126, size) + payload
    return _LENGTH_64(0x80 | opcode, 127, size) + payload


class ProtocolError(Exception):
    """The peer broke RFC 6455; the connection must be closed with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def read_close(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame; raises ProtocolError for a wrong code, and what is no text."""
    code = int.from_bytes(payload[:2]) if payload else NO_CODE
    if payload and not may_be_sent(code):
        raise ProtocolError(PROTOCOL_ERROR, f"close code {code}")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(INVALID_TEXT, "the reason of a close is not UTF-8") from None


class MessageAssembler:
    """Puts data frames together to whole messages, never holding more than `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._opcode = CONTINUATION
        self._size = 0
        # One buffer, however small the fragments are: an object for each would take thirty times as much.
        self._payload = bytearray()
        self._decoder = _new_utf8_decoder()

    def feed(self, opcode: int, fin: bool, payload: bytes) -> str | bytes | None:
        """Take one TEXT, BINARY or CONTINUATION frame; return the message that it completes, else None.

        Raises ProtocolError for a continuation without a start, a start inside a message, text that
        is not UTF-8 (at the first wrong byte) and a message above `max_bytes`.
        """
        if opcode == CONTINUATION:
            if self._opcode == CONTINUATION:
                raise ProtocolError(PROTOCOL_ERROR, "continuation frame without a message to continue")
        elif self._opcode != CONTINUATION:
            raise ProtocolError(PROTOCOL_ERROR, "new message before the last fragment of the previous one")
        else:
            self._opcode = opcode
        self._size += len(payload)
        if self._size > self._max_bytes:
            raise ProtocolError(TOO_BIG, f"message above {self._max_bytes} bytes")
        piece = self._decoded(payload, fin) if self._opcode == TEXT else payload
        if fin and opcode != CONTINUATION:
            self._opcode, self._size = CONTINUATION, 0
            return piece  # a whole message in one frame
        self._payload += payload
        return self._finish() if fin else None

    def _decoded(self, payload: bytes, fin: bool) -> str:
        try:
            return self._decoder.decode(payload, final=fin)
        except UnicodeDecodeError:
            raise ProtocolError(INVALID_TEXT, "text is not UTF-8") from None

    def _finish(self) -> str | bytes:
        message = self._payload.decode() if self._opcode == TEXT else bytes(self._payload)
        self._opcode = CONTINUATION
        self._size = 0
        self._payload = bytearray()
        self._decoder.reset()
        return message
