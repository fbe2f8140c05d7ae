"""What fails in TLS or in the handshake is freed at once, and does not wait for the garbage collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections import Counter
from pathlib import Path

import pytest

from brokerpool.gateway.loop_faults import LoopFaults
from tests.gateway_client import gateway
from tests.http_server import AUTHORITY
from tests.measuring import no_collection
from tests.rehearsal import until
from tests.unit.test_gateway_tls import written

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
KINDS = {
    "plain text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "noise": bytes(range(256)),
    "half a hello": HELLO + bytes(20),
    "a record that lies about its length": b"\x16\x03\x01\xff\xff" + bytes(400),
}
#: What a connection is made of, here and in asyncio and uvicorn.
PARTS = {"SSLProtocol", "SSLObject", "MemoryBIO", "H11Protocol", "Connection", "Session", "_AcceptedLink"}


def parts() -> Counter[str]:
    return Counter(name for o in gc.get_objects() if (name := type(o).__name__) in PARTS)


def descriptors_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def fail(port: int, sent: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    writer.transport.abort()


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
def test_a_failed_handshake_leaves_no_part_of_itself_even_without_the_garbage_collector(
    secure: bool, tmp_path: Path
) -> None:
    async def main() -> None:
        environ = written(tmp_path, *AUTHORITY.pair()) if secure else {}
        async with gateway(**environ) as (_, served_by):
            asyncio.get_running_loop().set_exception_handler(LoopFaults(time.monotonic))  # as `serve` does
            # Without TLS there is no handshake on the HTTP port; of a broken request uvicorn keeps 4 kB.
            urls = [served_by.ws_url, *([served_by.http_url] if secure else [])]
            ports = [int(url.rpartition(":")[2]) for url in urls]
            for port in ports:  # whatever is made once
                for sent in KINDS.values():
                    await fail(port, sent)
            await asyncio.sleep(0.2)
            gc.collect()
            with no_collection():
                before, descriptors = parts(), descriptors_open()
                for port in ports:
                    for sent in KINDS.values():
                        for _ in range(25):
                            await fail(port, sent)
                await until(lambda: descriptors_open() <= descriptors)
                with contextlib.suppress(AssertionError):
                    await until(lambda: not parts() - before, 2)
                assert not parts() - before

    asyncio.run(main())
