"""What proxies say about the hops before them: `X-Forwarded-For` and `Forwarded` (RFC 7239); pure.

The nearest hop stands last, in the last line. A hop that a header does not tell, or tells in a form that is
none, is None: what stands before it can be believed no more than it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

#: A longer line is not read: no proxy makes one, and reading takes the ticks' time.
_LONGEST = 8 * 1024

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
#: One parameter of an element, and what ends it; possessive, since a line of blanks must not cost its square.
#: Bare values may be more than RFC 7239 lets them be: many proxies forget quotes around colons and brackets.
_PARAMETER = re.compile(rf'[ \t]*+(?:({_TOKEN})=({_QUOTED}|[^\s",;]*+))?[ \t]*+([,;]|\Z)')
_QUOTED_PAIR = re.compile(r"\\(.)")
#: An address with a port, which nobody needs here.
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[\w.-]+)?|([\d.]+):[\w.-]+")


def address(text: str) -> Address | None:
    """Return an address in its plain form, None for what is none.

    Without a zone, and IPv4 where IPv6 only carries it.
    """
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        # The name of an interface says nothing to anybody but the machine that has it.
        return found.ipv4_mapped or IPv6Address(int(found))
    return found


def x_forwarded_for(lines: Sequence[str]) -> Iterator[Address | None]:
    """Yield the hops of all lines of `X-Forwarded-For`, the nearest first."""
    for line in reversed(lines):
        for hop in reversed(line.split(",")):
            if text := hop.strip(" \t"):  # an empty element of a list says nothing
                yield _node(text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text)


def forwarded(lines: Sequence[str]) -> Iterator[Address | None]:
    """Yield the hops of all lines of `Forwarded`, the nearest first."""
    for line in reversed(lines):
        yield from map(_node, reversed(_elements(line)))


def _elements(line: str) -> list[str]:
    """Return whom each element of a line stands for; of a line that cannot be read nothing is believed."""
    if len(line) > _LONGEST:
        return [""]
    elements: list[str] = []
    parameters: dict[str, str] = {}
    at, end = 0, ","
    while end:
        found = _PARAMETER.match(line, at)
        if found is None or (found[1] and found[1].lower() in parameters):
            return [""]
        if found[1]:
            value = found[2]
            quoted = value.startswith('"')
            parameters[found[1].lower()] = _QUOTED_PAIR.sub(r"\1", value[1:-1]) if quoted else value
        at, end = found.end(), found[3]
        if end != ";" and parameters:
            elements.append(parameters.get("for", ""))
            parameters = {}
    return elements


def _node(text: str) -> Address | None:
    found = _WITH_PORT.fullmatch(text)
    return address(found[1] or found[2] if found else text)
