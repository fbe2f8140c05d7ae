"""Questions about market data that a gateway has for a broker, and their answers, as they go over the bus."""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Any

import msgspec

from brokerpool.cluster.messages import FORMAT, Decoder, Message, Name, encode
from brokerpool.errors import BrokerError, BrokerpoolError, CallRefusedError, ErrorCode
from brokerpool.instruments import Instrument

#: A longer answer is packed: servers take no message above 1 MB, and a full answer of candles has that.
_PACKED_BYTES = 256 * 1024


class Question(Message, frozen=True, gc=False):
    """One call of `MarketDataApi`; "intervals" asks for those."""

    call: str
    instruments: tuple[Name, ...] = ()
    interval: str = ""
    start: datetime | None = None
    end: datetime | None = None

    @property
    def named(self) -> list[Instrument]:
        """The instruments that it is about."""
        return [Instrument(*name) for name in self.instruments]


class Reply(Message, frozen=True, gc=False):
    """What the call returned, or the error that it raised: its code, message and time to wait."""

    #: MessagePack of what was returned.
    content: bytes = b""
    packed: bool = False
    code: str = ""
    message: str = ""
    retry_after: float | None = None


read_question = Decoder(Question)
read_reply = Decoder(Reply)


def reply(returned: Any) -> bytes:  # noqa: ANN401  (of any call)
    """Return the reply that carries what a call returned."""
    content = msgspec.msgpack.encode(returned)
    packed = len(content) > _PACKED_BYTES
    return encode(Reply(FORMAT, zlib.compress(content, 1) if packed else content, packed))


def refusal(error: BrokerpoolError) -> bytes:
    """Return the reply that carries an error."""
    code, retry_after = error.code, getattr(error, "retry_after", None)
    message = str(error).removeprefix(f"{code.name}: ").removesuffix(f" {code.action}")
    return encode(Reply(FORMAT, code=code.name, message=message, retry_after=retry_after))


def content_of(answer: Reply) -> bytes:
    """Return what the call returned, to be decoded. Raises the error that it raised."""
    if not answer.code:
        return zlib.decompress(answer.content) if answer.packed else answer.content
    known = ErrorCode.__members__.get(answer.code, ErrorCode.BROKER_REFUSED_CALL)
    if answer.retry_after is not None:
        raise CallRefusedError(answer.message, code=known, retry_after=answer.retry_after)
    raise BrokerError(answer.message, code=known)
