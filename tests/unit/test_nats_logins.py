"""Each login at real NATS servers: TLS, credentials, keys and passwords, and what a refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest

from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.cluster.nats_server import nats_server, program
from brokerpool.cluster.subjects import LEASES
from brokerpool.errors import SettingsError
from tests.http_server import Authority
from tests.nats import bus, cluster_settings, jwt_server, nkey, refused, run

pytestmark = pytest.mark.skipif(program() is None, reason="needs the program nats-server")


def test_tls_a_wrong_authority_and_a_client_certificate(tmp_path: Path) -> None:
    authority, stranger = Authority(), Authority()
    cert, key = files(tmp_path, "server", authority.pair())
    own_cert, own_key = files(tmp_path, "client", authority.pair("a-gateway"))
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem())
    other = tmp_path / "other.pem"
    other.write_bytes(stranger.pem())
    tls = {"cert_file": str(cert), "key_file": str(key), "ca_file": str(ca), "verify": True}

    async def test() -> None:
        with nats_server(tmp_path / "nats", config={"tls": tls}) as server:
            assert server.url.startswith("tls://")
            own = {
                "BROKERPOOL_NATS_CA_FILE": str(ca),
                "BROKERPOOL_NATS_CERT_FILE": str(own_cert),
                "BROKERPOOL_NATS_KEY_FILE": str(own_key),
            }
            async with bus(server.url, **own) as one:
                await one.store(LEASES).put("a", b"b")
            await refused(server.url, **{**own, "BROKERPOOL_NATS_CA_FILE": str(other)})  # type: ignore[arg-type]
            await refused(server.url, BROKERPOOL_NATS_CA_FILE=str(ca))

    run(test())


def files(folder: Path, name: str, pair: tuple[bytes, bytes]) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(pair[0])
    key.write_bytes(pair[1])
    return cert, key


def test_a_credentials_file_of_an_operator_lets_in_and_nothing_else_does(tmp_path: Path) -> None:
    config, creds = jwt_server(tmp_path)

    async def test() -> None:
        with nats_server(tmp_path / "nats", config=config) as server:
            async with bus(server.url, BROKERPOOL_NATS_CREDENTIALS_FILE=str(creds)) as one:
                await one.store(LEASES).put("a", b"b")
            await refused(server.url)

    run(test())


def test_an_nkey_lets_in_and_the_one_of_somebody_else_does_not(tmp_path: Path) -> None:
    own, other = nkey(), nkey()
    (tmp_path / "own.nk").write_text(own.seed)
    (tmp_path / "other.nk").write_text(other.seed)
    config = {"authorization": {"users": [{"nkey": own.public}]}}

    async def test() -> None:
        with nats_server(tmp_path / "nats", config=config) as server:
            async with bus(server.url, BROKERPOOL_NATS_NKEY_FILE=str(tmp_path / "own.nk")) as one:
                await one.store(LEASES).put("a", b"b")
            said = await refused(server.url, BROKERPOOL_NATS_NKEY_FILE=str(tmp_path / "other.nk"))
            assert other.seed not in said

    run(test())


def test_a_password_in_a_url_stands_in_no_error(tmp_path: Path) -> None:
    config = {"authorization": {"user": "feed", "password": "correct-horse"}}

    async def test() -> None:
        with nats_server(tmp_path / "nats", config=config) as server:
            at = server.url.removeprefix("nats://")
            async with bus(f"nats://feed:correct-horse@{at}") as one:
                assert one.connected
            said = await refused(f"nats://feed:battery-staple@{at}")
            assert "battery-staple" not in said
            assert at in said

    run(test())


def test_without_jetstream_the_start_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        with nats_server(tmp_path / "nats", config={"jetstream": False}) as server:
            assert "bucket" in await refused(server.url)

    run(test())


@pytest.mark.parametrize(
    "name", ["BROKERPOOL_NATS_CREDENTIALS_FILE", "BROKERPOOL_NATS_NKEY_FILE", "BROKERPOOL_NATS_CA_FILE"]
)
def test_a_file_that_is_missing_is_told_by_the_name_of_its_setting(name: str, tmp_path: Path) -> None:
    settings = cluster_settings("nats://127.0.0.1:4222", **{name: str(tmp_path / "absent")})
    with pytest.raises(SettingsError, match=name):
        NatsBus(settings, "test")
