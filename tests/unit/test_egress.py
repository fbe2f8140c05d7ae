"""Which way a connection takes: settings, arguments and the environment, without a network."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import pytest

from brokerpool import BrokerClient, Egress, SettingsError
from brokerpool.settings import Settings

SECRET = "hunter2"
NEEDED = {
    "BROKERPOOL_BROKER_API_KEY": "k",
    "BROKERPOOL_BROKER_ACCESS_TOKEN": "t",
    "BROKERPOOL_API_KEY": "x" * 16,
}


def way(url: str, **environ: str) -> str | None:
    proxy = Egress(environ=environ).route(url)
    return proxy.name if proxy is not None else None


@pytest.mark.parametrize(
    ("url", "environ", "name"),
    [
        ("https://api.kite.trade", {}, None),
        ("https://api.kite.trade", {"HTTPS_PROXY": "http://p:3128"}, "p:3128"),
        ("https://api.kite.trade", {"HTTPS_PROXY": "p:3128"}, "p:3128"),
        ("https://api.kite.trade", {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2"}, "low:1"),
        ("https://api.kite.trade", {"HTTP_PROXY": "http://p:3128"}, None),
        ("http://api.kite.trade", {"HTTP_PROXY": "http://p:3128"}, "p:3128"),
        ("http://api.kite.trade", {"HTTP_PROXY": "http://p:3128", "REQUEST_METHOD": "GET"}, None),
        ("wss://ws.kite.trade", {"HTTPS_PROXY": "http://p:3128"}, "p:3128"),
        ("wss://ws.kite.trade", {"HTTPS_PROXY": "http://p:1", "WSS_PROXY": "http://w:2"}, "w:2"),
        ("ws://ws.kite.trade", {"HTTP_PROXY": "http://p:3128"}, "p:3128"),
        ("wss://ws.kite.trade", {"ALL_PROXY": "http://[::1]:8080"}, "[::1]:8080"),
        ("wss://ws.kite.trade", {"ALL_PROXY": "https://p"}, "p:443"),
        ("https://api.kite.trade", {"HTTPS_PROXY": ""}, None),
    ],
)
def test_the_environment_names_a_proxy_as_users_know_it(
    url: str, environ: dict[str, str], name: str | None
) -> None:
    assert way(url, **environ) == name


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("*", True),
        ("kite.trade", True),
        (".kite.trade", True),
        ("*.kite.trade", True),
        ("example.com, API.Kite.Trade", True),
        ("api.kite.trade:443", True),
        ("api.kite.trade:8443", False),
        ("te.trade", False),
        ("kite.trade.evil", False),
        ("", False),
    ],
)
def test_no_proxy_excepts_hosts_and_their_domains(no_proxy: str, direct: bool) -> None:
    name = way("https://api.kite.trade/x", HTTPS_PROXY="http://p:1", NO_PROXY=no_proxy)
    assert (name is None) is direct


@pytest.mark.parametrize(
    ("url", "direct"),
    [("http://10.1.2.3", True), ("http://10.2.0.1", False), ("http://[fd00::5]/", True)],
)
def test_no_proxy_excepts_networks(url: str, direct: bool) -> None:
    assert (way(url, ALL_PROXY="http://p:1", no_proxy="10.1.0.0/16,fd00::/8,rubbish/9") is None) is direct


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_is_reached_without_a_proxy(host: str) -> None:
    assert way(f"ws://{host}:8765", ALL_PROXY="http://p:1") is None
    assert Egress(proxy="http://p:1").route(f"http://{host}:5000") is None


def test_what_is_given_wins_over_the_environment() -> None:
    environ = {"HTTPS_PROXY": "http://theirs:1", "NO_PROXY": "*"}
    url = "https://api.kite.trade"
    assert str(Egress(proxy="http://ours:2", environ=environ).route(url)) == "ours:2"
    assert Egress(proxy="direct", environ={"HTTPS_PROXY": "http://theirs:1"}).route(url) is None


@pytest.mark.parametrize(
    "proxy", ["socks5://p:1080", "ftp://p", "http://", "http://p:99999", "http://p/path", "http://u:hunter2@"]
)
def test_a_proxy_that_cannot_be_used_is_refused_and_not_quoted(proxy: str) -> None:
    with pytest.raises(ValueError, match="proxy") as caught:
        Egress(proxy=proxy)
    assert SECRET not in str(caught.value)
    egress = Egress(environ={"ALL_PROXY": proxy})
    with pytest.raises(SettingsError, match="ALL_PROXY of the environment"):
        egress.route("https://api.kite.trade")


def test_a_socks_proxy_of_the_environment_stops_a_client_before_its_first_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://p:1080")
    with pytest.raises(SettingsError, match="SOCKS proxy is not carried"):
        BrokerClient("https://api.kite.trade", name="kite")


def test_a_source_address_settles_the_family() -> None:
    assert Egress(source_address="192.0.2.7").family is socket.AF_INET
    assert Egress(source_address="2001:db8::7").family is socket.AF_INET6
    assert Egress(family="ipv4").family is socket.AF_INET
    for wrong in (
        {"source_address": "192.0.2.7", "family": "ipv6"},
        {"source_address": "eth0"},
        {"family": "4"},
    ):
        with pytest.raises(ValueError, match=r"family|source"):
            Egress(**wrong)  # type: ignore[arg-type]


def test_a_host_of_the_other_family_is_a_clear_error() -> None:
    with pytest.raises(SettingsError, match="cannot be reached over the one family"):
        Egress(family="ipv4").route("wss://[2001:db8::1]/")
    with pytest.raises(SettingsError, match="one family"):
        Egress(proxy="http://192.0.2.1:1", family="ipv6").route("wss://ws.kite.trade")


def test_the_login_of_a_proxy_is_never_shown() -> None:
    url = f"http://user:{SECRET}@p:3128"
    for egress in (Egress(proxy=url), Egress(environ={"HTTPS_PROXY": url})):
        proxy = egress.route("https://api.kite.trade")
        assert SECRET not in f"{egress!r} {egress} {proxy!r} {proxy} {vars(egress)['_proxy']}"
        assert proxy is not None
        assert SECRET in proxy.url


def settings(**given: str) -> Settings:
    return Settings.load(environ={**NEEDED, **given})


def test_settings_become_the_one_egress() -> None:
    egress = settings(
        BROKERPOOL_PROXY=f"http://user:{SECRET}@p:3128", BROKERPOOL_SOURCE_ADDRESS="192.0.2.7"
    ).egress
    assert (egress.source_address, egress.family) == ("192.0.2.7", socket.AF_INET)
    assert str(egress.route("wss://ws.kite.trade")) == "p:3128"
    assert settings(BROKERPOOL_ADDRESS_FAMILY="ipv6").egress.family is socket.AF_INET6
    assert settings().egress.local_addr is None


@pytest.mark.parametrize(
    "given",
    [
        {"BROKERPOOL_PROXY": f"socks5://user:{SECRET}@p:1080"},
        {"BROKERPOOL_SOURCE_ADDRESS": "eth0"},
        {"BROKERPOOL_ADDRESS_FAMILY": "ipv5"},
        {"BROKERPOOL_ADDRESS_FAMILY": "ipv6", "BROKERPOOL_SOURCE_ADDRESS": "192.0.2.7"},
    ],
)
def test_settings_at_fault_are_named_and_not_quoted(given: Mapping[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(given))) as caught:
        settings(**given)
    assert SECRET not in str(caught.value)
