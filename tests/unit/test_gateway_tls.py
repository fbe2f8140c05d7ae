"""A gateway's two ports under TLS: who may speak to them, and which certificate they show."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from brokerpool import ErrorCode, SettingsError
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.loop_faults import LoopFaults
from tests.gateway_client import KEY, Client, gateway, trade
from tests.http_server import AUTHORITY, Authority
from tests.rehearsal import until


def written(folder: Path, certificate: bytes, key: bytes) -> dict[str, str]:
    """Write the pair and return the settings that name it."""
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    return {
        "BROKERPOOL_TLS_CERT_FILE": str(folder / "cert.pem"),
        "BROKERPOOL_TLS_KEY_FILE": str(folder / "key.pem"),
    }


async def serial(port: int, trusted: ssl.SSLContext) -> int:
    """Return the serial number of the certificate that a port shows."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted, server_hostname="localhost")
    shown = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    return int(shown, 16)


def test_both_ports_speak_tls_1_2_and_newer_and_show_the_certificate_that_the_files_hold_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trusted = AUTHORITY.trusted()

    async def main() -> None:
        environ = written(tmp_path, *AUTHORITY.pair())
        async with gateway(**environ) as (broker, served_by):
            assert served_by.ws_url.startswith("wss://")
            assert served_by.http_url.startswith("https://")
            ports = [int(url.rpartition(":")[2]) for url in (served_by.ws_url, served_by.http_url)]
            async with (
                connect(served_by.ws_url, ssl=trusted, compression=None) as connection,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as http,
            ):
                session = Client(connection)
                assert (await session.ask(action="authenticate", api_key=KEY))["status"] == "success"
                await session.subscribe("INFY", "SBIN", mode=3)
                await until(lambda: len(broker.sockets()) == 1)
                await session.take(1)
                await trade(broker, served_by, 200)
                assert await session.drain()
                async with http.get(f"{served_by.http_url}/stats") as answer:
                    assert answer.status == 200
                    told = await answer.json()
                # The certificate of this rehearsal lives for a day, which is told, and is a reason.
                assert abs(told["access"]["certificate_ends_at"] - time.time() - 86_400) < 600
                assert told["health"]["reasons"]["certificate_ends"] is True
                async with http.get(f"{served_by.http_url}/metrics") as answer:
                    assert "brokerpool_access_certificate_ends_timestamp_seconds " in await answer.text()
                asyncio.get_running_loop().set_exception_handler(
                    LoopFaults(time.monotonic)
                )  # as `serve` does
                strangers = ssl.create_default_context()
                old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                old.set_ciphers("ALL:@SECLEVEL=0")  # the server alone shall refuse
                old.load_verify_locations(cadata=AUTHORITY.pem().decode())
                old.minimum_version, old.maximum_version = (
                    ssl.TLSVersion.MINIMUM_SUPPORTED,
                    ssl.TLSVersion.TLSv1_1,
                )
                for port in ports:
                    for context in (strangers, old):
                        with pytest.raises((ssl.SSLError, ConnectionError)):
                            await serial(port, context)
                before = [await serial(port, trusted) for port in ports]
                certificate = served_by._certificate
                assert certificate is not None
                written(tmp_path, AUTHORITY.pair()[0], AUTHORITY.pair()[1])
                with pytest.raises(SettingsError, match="are no pair"):
                    certificate.reload()
                assert [await serial(port, trusted) for port in ports] == before
                written(tmp_path, *AUTHORITY.pair())
                certificate.reload()
                after = [await serial(port, trusted) for port in ports]
                assert after[0] == after[1] != before[0]
                assert (await session.ask(action="ping"))["type"] == "pong", "open connections stay"

    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        asyncio.run(main())
    assert "handshake" not in caplog.text, "a port scanner must not fill the log"


def test_a_certificate_that_cannot_be_used_is_told_with_the_settings_that_name_it(tmp_path: Path) -> None:
    certificate, key = Authority().pair()
    other = Authority().pair()[1]

    def fault(cert_file: str, key_file: str) -> str:
        with pytest.raises(SettingsError) as caught:
            Certificate.of(cert_file, key_file)
        assert caught.value.code is ErrorCode.INVALID_SETTINGS
        assert "PRIVATE" not in str(caught.value)
        return str(caught.value)

    good = written(tmp_path, certificate, key)
    cert_file, key_file = good.values()
    assert Certificate.of(cert_file, key_file) is not None
    assert Certificate.of("", "") is None
    assert "BROKERPOOL_TLS_KEY_FILE is not" in fault(cert_file, "")
    assert "BROKERPOOL_TLS_CERT_FILE is not" in fault("", key_file)
    assert "BROKERPOOL_TLS_KEY_FILE: " in fault(cert_file, str(tmp_path / "nowhere"))
    assert "cannot be read" in fault(str(tmp_path), key_file)
    assert "are no pair" in fault(*written(tmp_path, certificate, other).values())
    assert "are no pair" in fault(*written(tmp_path, b"nothing", key).values())
