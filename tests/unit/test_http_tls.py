"""TLS is always verified; nothing that a caller or a broker does can turn that off."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from brokerpool import BrokerClient, CallFailedError, ErrorCode
from tests.http_server import AUTHORITY, SERVER_TLS, Authority, Reply, ScriptedBroker, broker_and_client


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_name_and_an_unknown_authority_are_refused_before_anything_is_sent(method: str) -> None:
    async def main() -> None:
        brokers = [(AUTHORITY.server("broker.example"), AUTHORITY), (SERVER_TLS, Authority())]
        for server, trusted in brokers:
            async with ScriptedBroker(server) as broker:
                client = BrokerClient(broker.url, name="tls", ssl_context=trusted.trusted())
                with pytest.raises(CallFailedError, match="certificate was refused") as caught:
                    await client.request(method, "/x", headers={"Authorization": "secret"})
                assert caught.value.code is ErrorCode.TLS_NOT_TRUSTED
                assert not caught.value.sent
                assert broker.count() == 0
                assert client.stats()["retries"] == {}, "trying again would change nothing"
                await client.close()

    asyncio.run(main())


def test_the_default_context_trusts_the_systems_authorities_only() -> None:
    async def main() -> None:
        async with ScriptedBroker(SERVER_TLS) as broker, BrokerClient(broker.url, name="tls") as client:
            with pytest.raises(CallFailedError, match="TLS_NOT_TRUSTED"):
                await client.request("GET", "/x")

    asyncio.run(main())


def test_a_context_that_does_not_verify_is_refused() -> None:
    blind = ssl.create_default_context()
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    nameless = ssl.create_default_context()
    nameless.check_hostname = False
    for context in (blind, nameless):
        with pytest.raises(ValueError, match="verify certificates and host names"):
            BrokerClient("https://broker.example", name="tls", ssl_context=context)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_a_context_that_allows_old_versions_is_refused() -> None:
    old = ssl.create_default_context()
    old.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ValueError, match=r"insist on TLS 1\.2"):
        BrokerClient("https://broker.example", name="tls", ssl_context=old)


def test_a_redirect_to_another_host_sends_it_nothing() -> None:
    async def main() -> None:
        async with ScriptedBroker() as other, broker_and_client(tls=True) as (broker, client):
            broker.script = lambda seen: Reply(307, headers={"Location": f"{other.url}/steal"})
            answer = await client.request(
                "POST", "/order", order_tag="1", headers={"Authorization": "secret"}
            )
            assert answer.status == 307
            assert other.accepted == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    "path", ["quote", "ftp://broker.example/", "http://broker.example/", "https://me@x/"]
)
def test_a_call_cannot_be_made_less_secure_than_the_base_url(path: str) -> None:
    async def main() -> None:
        async with BrokerClient("https://broker.example", name="tls") as client:
            with pytest.raises(ValueError, match="begins with a slash"):
                await client.request("GET", path)

    asyncio.run(main())


@pytest.mark.parametrize(
    "url", ["broker.example", "ftp://broker.example", "https://", "https://a:b@broker.example"]
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url is http"):
        BrokerClient(url, name="tls")
