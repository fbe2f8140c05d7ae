"""The settings of who gets in: TLS, host names and origins, and the share of each key."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field

from brokerpool.settings.field_types import Count, FileName, RateLimit, Words, rate, words
from brokerpool.settings.settings_group import Group


def _networks(text: str) -> str:
    for word in words(text):
        try:
            ip_network(word)
        except ValueError:
            raise ValueError("one of the words is no address and no network") from None
    return text


def _origins(text: str) -> str:
    if not all(re.fullmatch(r"\*|null|[a-zA-Z][\w+.-]*://[^/?#@]+/?", word) for word in words(text)):
        raise ValueError("one of the words is no origin: scheme and host such as https://my.example, no path")
    return text


def _names(text: str) -> str:
    for word in words(text):
        if re.fullmatch(r"\*|[^/?#@:\[\]]+", word) is None:
            raise ValueError("one of the words is no host name, which has no scheme and no port")
    return text


class AccessSettings(Group):
    """Who gets in, over which line, and the share of each key (`BROKERPOOL_API_KEY` has the whole)."""

    tls_cert_file: FileName = Field(
        "",
        alias="BROKERPOOL_TLS_CERT_FILE",
        description="The certificate of both listeners with those that vouch for it (PEM); makes them wss://"
        " and https://.",
    )
    tls_key_file: FileName = Field(
        "",
        alias="BROKERPOOL_TLS_KEY_FILE",
        description="The private key of that certificate (PEM, not encrypted).",
    )
    allowed_hosts: Annotated[Words, AfterValidator(_names)] = Field(
        "",
        alias="BROKERPOOL_ALLOWED_HOSTS",
        json_schema_extra={"allowed": "host names separated by commas, or *"},
        description="Names by which clients may call the gateway, besides localhost, the name that it listens"
        " on, and addresses.",
    )
    allowed_origins: Annotated[Words, AfterValidator(_origins)] = Field(
        "",
        alias="BROKERPOOL_ALLOWED_ORIGINS",
        json_schema_extra={"allowed": "origins such as https://my.example separated by commas, or *"},
        description="Web pages of other hosts that may call the gateway and read its answers; those of its"
        " own host may.",
    )
    trusted_proxies: Annotated[Words, AfterValidator(_networks)] = Field(
        "",
        alias="BROKERPOOL_TRUSTED_PROXIES",
        json_schema_extra={"allowed": "addresses or networks separated by commas"},
        description="Reverse proxies whose X-Forwarded-For or Forwarded tells the client's address.",
    )
    max_clients_per_key: Count = Field(
        100,
        alias="BROKERPOOL_MAX_CLIENTS_PER_KEY",
        description="WebSocket clients connected with one key of the database at the same time.",
    )
    max_symbols_per_key: Count = Field(
        10_000,
        alias="BROKERPOOL_MAX_SYMBOLS_PER_KEY",
        description="Symbols that the clients with one key of the database hold, each client's counted.",
    )
    key_rate_limit: RateLimit = Field(
        "200 per second",
        alias="BROKERPOOL_KEY_RATE_LIMIT",
        description="Requests with one key of the database in a moving window; beyond it REST requests are"
        " refused and those on a WebSocket wait.",
    )

    @property
    def key_rate(self) -> tuple[int, float]:
        """The rate limit of a key as a number of requests and the seconds of its window."""
        return rate(self.key_rate_limit)
