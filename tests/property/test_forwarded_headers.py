"""Whatever strangers write about where they come from: they are who the nearest trusted proxy saw."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from starlette.datastructures import Headers

from brokerpool.gateway.allowed_origins import RequestOrigin

PROXIES = ("10.0.0.0/8", "fd00::/8", "192.0.2.1")
APPROACH = RequestOrigin("127.0.0.1", proxies=PROXIES)

Line = tuple[str, str]

trusted = st.one_of(
    st.integers(0x0A000001, 0x0AFFFFFF).map(lambda n: str(IPv4Address(n))),
    st.integers(1, 2**64).map(lambda n: str(IPv6Address((0xFD << 120) + n))),
    st.just("192.0.2.1"),
)
strangers = st.one_of(
    st.ip_addresses(v=4).map(str).filter(lambda a: not a.startswith("10.") and a != "192.0.2.1"),
    st.ip_addresses(v=6).map(str).filter(lambda a: not a.startswith(("fd", "::ffff:"))),
)
rubbish = st.text(st.sampled_from('0123456789abcdef.:[]"\\,;= \tforFOR_-%unknown'), max_size=60)
#: Lines that anybody may write, some of them good.
made_up = st.lists(
    st.tuples(
        st.sampled_from(["X-Forwarded-For", "x-forwarded-for", "Forwarded", "FORWARDED"]),
        st.one_of(
            rubbish,
            strangers,
            strangers.map(lambda a: f'for="{a}"'),
            st.lists(trusted).map(", ".join),
            strangers.map(lambda a: f'for={a};x="'),
        ),
    ),
    max_size=4,
)


@st.composite
def spelling(draw: st.DrawFn, hop: str) -> str:
    """Write an address as one of the many proxies does."""
    is_ipv6 = ":" in hop
    port = draw(st.sampled_from(["", ":4711", ":_port"]))
    if is_ipv6:
        bare = f"[{hop}]{port}" if port else draw(st.sampled_from([f"[{hop}]", hop]))
    else:
        bare = draw(st.sampled_from([f"[::ffff:{hop}]{port}", f"{hop}{port}"]))
    return draw(st.sampled_from([bare, bare.upper()]))


@st.composite
def told(draw: st.DrawFn, lines: list[Line], name: str, hop: str) -> list[Line]:
    """Let a proxy add who asked it: to the last line of its header, or in a line of its own."""
    text = draw(spelling(hop))
    if name.lower() == "forwarded":
        quoted = f'"{text}"' if draw(st.booleans()) or ":" in text else text
        before = draw(st.sampled_from(["", "proto=https;", 'by="[fd00::9]:443"; ', 'host="a,b;c\\"d";']))
        after = draw(st.sampled_from(["", ";x=1", " ; secret=_me"]))
        text = f"{before}{draw(st.sampled_from(['for', 'For', 'FOR']))}={quoted}{after}"
    elif draw(st.booleans()):
        text = f'"{text}"'
    mine = [at for at, (line, _) in enumerate(lines) if line.lower() == name.lower()]
    if draw(st.booleans()) and mine:
        lines = list(lines)
        key, value = lines[mine[-1]]
        lines[mine[-1]] = (key, value + draw(st.sampled_from([", ", ",", " ,\t"])) + text)
        return lines
    return [*lines, (name, text)]


def came(peer: str, lines: list[Line]) -> str:
    """Ask with the headers as both listeners hand them over."""
    ours = APPROACH.came(peer, CIMultiDict(lines))
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines]
    assert APPROACH.came(peer, Headers(raw=raw)) == ours
    return ours.address


@given(strangers, made_up)
def test_a_peer_that_is_no_trusted_proxy_never_chooses_its_address(peer: str, lines: list[Line]) -> None:
    assert came(peer, lines) == str(IPv6Address(peer) if ":" in peer else IPv4Address(peer))


@given(st.data(), strangers, st.lists(trusted, min_size=1, max_size=4), made_up)
def test_through_trusted_proxies_a_client_is_itself_whatever_it_wrote_in_the_header_that_they_use(
    data: st.DataObject, client: str, proxies: list[str], lines: list[Line]
) -> None:
    name = data.draw(st.sampled_from(["X-Forwarded-For", "Forwarded"]))
    lines = [line for line in lines if line[0].lower() == name.lower()]
    hops = [client, *proxies]
    clean = all(_is_whole(value) for _, value in lines)
    for hop in hops[:-1]:
        lines = data.draw(told(lines, name, hop))
    expected = {client} if clean or name == "X-Forwarded-For" else {client, *proxies}
    assert came(proxies[-1], lines) in expected


@given(st.data(), strangers, st.lists(trusted, min_size=1, max_size=3), made_up)
def test_a_header_that_the_proxies_let_pass_gives_a_client_no_address_of_its_choice(
    data: st.DataObject, client: str, proxies: list[str], lines: list[Line]
) -> None:
    name = data.draw(st.sampled_from(["X-Forwarded-For", "Forwarded"]))
    for hop in [client, *proxies][:-1]:
        lines = data.draw(told(lines, name, hop))
    assert came(proxies[-1], lines) in {client, *proxies}


def _is_whole(value: str) -> bool:
    """Return whether a line of Forwarded can still be read when a proxy has added to it."""
    return not value or (value.startswith('for="') and value.endswith('"'))
