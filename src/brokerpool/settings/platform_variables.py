"""Names that a platform puts into the environment, and that mean services beside the gateway; pure.

Kubernetes describes each service of the namespace to every pod in variables that begin with the service's
name (`brokerpool` and `brokerpool-rest` give BROKERPOOL_... and BROKERPOOL_REST_...), and Docker does so for
linked containers. They look like settings, and one may even bear the name of one: a service `brokerpool-http`
gives BROKERPOOL_HTTP_PORT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

_PROTOCOL = r"(tcp|udp|sctp)"
_URL = re.compile(rf"{_PROTOCOL}://\S+:\d+")
_NUMBER = re.compile(r"\d{1,5}")

_SERVICE_HOST = re.compile(r"\w+_SERVICE_HOST")
_SERVICE_PORT = re.compile(r"\w+_SERVICE_PORT(_\w+)?")
#: The port of a service, and each of its ports by number.
_PORT = re.compile(r"\w+_PORT(_\d+_(TCP|UDP|SCTP))?")
_PART = re.compile(r"\w+_PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)")

#: Docker tells who linked whom (/web/brokerpool), and copies the other container's own variables.
_ALIAS = re.compile(r"(?P<alias>\w+)_NAME")
_LINKED = re.compile(r"(/[\w.-]+){2}")


def without_links(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that no platform put there; name and value must both be of its making.

    So a setting that somebody misspelt stays, and is told.
    """
    copied = tuple(
        f"{found['alias']}_ENV_"
        for name, value in environ.items()
        if (found := _ALIAS.fullmatch(name)) and _LINKED.fullmatch(value)
    )
    return {
        name: value
        for name, value in environ.items()
        if not _is_link(name, value) and not (copied and name.startswith(copied))
    }


def _is_link(name: str, value: str) -> bool:
    if _SERVICE_HOST.fullmatch(name):
        return _is_address(value)
    if _SERVICE_PORT.fullmatch(name):
        return bool(_NUMBER.fullmatch(value))
    if part := _PART.fullmatch(name):
        match part[2]:
            case "PROTO":
                return bool(re.fullmatch(_PROTOCOL, value))
            case "PORT":
                return bool(_NUMBER.fullmatch(value))
            case _:
                return _is_address(value)
    if _PORT.fullmatch(name):
        return bool(_URL.fullmatch(value))
    return bool(_ALIAS.fullmatch(name) and _LINKED.fullmatch(value))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
