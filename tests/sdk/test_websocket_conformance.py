"""The Autobahn cases, run by `kosoku` against an echo server on our transport and one on `websockets`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
import websockets

from brokerpool.transport import Link, LinkHandler, serve

#: Performance (9) and compression (12, 13), which neither server is asked for.
LEFT_OUT = ("9.*", "12.*", "13.*")

#: Where the two libraries differ from a clean pass, and why.
#: 7.1.2 sends two close frames in one write: picows parses the second before it hands over the first and so
#: answers 1002, where 1000 is expected. The connection is closed all the same.
KNOWN = {"7.1.2"}

LARGEST_MESSAGE = 16 * 1024 * 1024
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


class Echo(LinkHandler):
    def opened(self, link: Link) -> None:
        self.link = link

    def text(self, message: str) -> None:
        self.link.send_text(message)

    def binary(self, message: bytes | memoryview) -> None:
        self.link.send_binary(bytes(message))


async def _echo(connection: websockets.ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except websockets.ConnectionClosed:
        pass


async def _cases(port: int, folder: Path) -> dict[str, str]:
    left_out = [word for pattern in LEFT_OUT for word in ("-x", pattern)]
    kosoku = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("kosoku")), "-m", "fuzzingclient", *left_out, "-p", "4"),
        *("-o", str(folder), f"127.0.0.1:{port}"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await kosoku.wait()
    (agent,) = json.loads((folder / "index.json").read_text()).values()
    return {case: result["behavior"] for case, result in agent.items()}


@pytest.mark.timeout(180)
def test_every_autobahn_case_passes_that_passes_for_the_websockets_library(tmp_path: Path) -> None:
    async def main() -> tuple[dict[str, str], dict[str, str]]:
        ours = await serve(lambda request: Echo(), "127.0.0.1", 0, max_message_bytes=LARGEST_MESSAGE)
        theirs = await websockets.serve(_echo, "127.0.0.1", 0, max_size=LARGEST_MESSAGE, compression=None)
        try:
            their_port = next(iter(theirs.sockets)).getsockname()[1]
            return await _cases(ours.port, tmp_path / "ours"), await _cases(their_port, tmp_path / "theirs")
        finally:
            await ours.close()
            theirs.close()
            await theirs.wait_closed()

    ours, theirs = asyncio.run(main())
    assert len(ours) == len(theirs) > 240
    failed = {case for case, behavior in ours.items() if behavior not in PASSED}
    passed_elsewhere = {case for case, behavior in theirs.items() if behavior in PASSED}
    print(f"{len(ours)} cases; failed here: {failed}; failed there: {set(theirs) - passed_elsewhere}")
    assert failed & passed_elsewhere <= KNOWN
