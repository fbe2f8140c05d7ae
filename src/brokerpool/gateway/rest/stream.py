"""Long answers, made and sent a little at a time: the ticks of all clients pass between two slices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

# anyio would load this with the first streamed answer, in a turn of the loop that then takes 20 to 40 ms.
import anyio._backends._asyncio  # noqa: F401
import msgspec
from starlette.responses import Response, StreamingResponse

T = TypeVar("T")

#: Rows that are made and encoded before the event loop has its turn: about half a millisecond.
SLICE = 128

#: Answers with more rows than this are streamed; shorter ones have a Content-Length.
SHORT = 1000

_encode = msgspec.json.Encoder().encode


def json_response(
    answer: msgspec.Struct, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a short answer: compact JSON, which AmiBroker's plug-in searches as text."""
    return Response(_encode(answer), status, headers, "application/json")


async def rows_response(head: bytes, rows: Iterable[msgspec.Struct], count: int) -> Response:
    """Return head, the rows as a JSON array, and the brace that ends it all; `count` is about how many."""
    parts = json_array(head, rows, b"}")
    if count > SHORT:
        return StreamingResponse(parts, media_type="application/json")
    return Response(b"".join([part async for part in parts]), media_type="application/json")


async def json_array(head: bytes, rows: Iterable[msgspec.Struct], tail: bytes) -> AsyncIterator[bytes]:
    """Yield the encoded rows between head and tail, a slice at a time."""
    yield head + b"["
    comma = b""
    async for piece in sliced(rows):
        yield comma + b",".join(map(_encode, piece))
        comma = b","
    yield b"]" + tail


async def text_lines(head: str, rows: Iterable[T], lines: Callable[[list[T]], str]) -> AsyncIterator[bytes]:
    """Yield the head and the lines of the rows, a slice at a time."""
    yield head.encode()
    async for piece in sliced(rows):
        yield lines(piece).encode()


async def sliced(rows: Iterable[T], size: int = SLICE) -> AsyncIterator[list[T]]:
    """Yield the rows in lists of `size`, and let the event loop turn after each."""
    iterator: Iterator[T] = iter(rows)
    while piece := list(islice(iterator, size)):
        yield piece
        await asyncio.sleep(0)
