"""The settings of one account: who it is, where its broker is reached, and what it may carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
)

from brokerpool.brokers.login import Credentials, Provider
from brokerpool.brokers.registry import Access
from brokerpool.egress import Egress
from brokerpool.instruments import EXCHANGES
from brokerpool.settings.field_types import (
    BrokerName,
    Count,
    HttpUrl,
    LoginFields,
    Switch,
    WebSocketUrl,
    above_published,
    login_fields,
    words,
)

#: How an account may be called: its name is part of names in the environment, of connections and of metrics.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
#: A member of an account -> the setting that says it where there is one account without a table.
FLAT: Mapping[str, str] = {
    "broker": "BROKERPOOL_BROKER",
    "api_key": "BROKERPOOL_BROKER_API_KEY",
    "access_token": "BROKERPOOL_BROKER_ACCESS_TOKEN",
    "api_secret": "BROKERPOOL_BROKER_API_SECRET",
    "ws_url": "BROKERPOOL_BROKER_WS_URL",
    "http_url": "BROKERPOOL_BROKER_HTTP_URL",
    "login_url": "BROKERPOOL_BROKER_LOGIN_URL",
    "login_fields": "BROKERPOOL_BROKER_LOGIN_FIELDS",
    "deep_book": "BROKERPOOL_BROKER_DEEP_BOOK",
}
#: A member -> the setting that holds for all accounts which say nothing of their own.
SHARED: Mapping[str, str] = {
    "max_symbols_per_websocket": "MAX_SYMBOLS_PER_WEBSOCKET",
    "max_websocket_connections": "MAX_WEBSOCKET_CONNECTIONS",
}


def account_name(text: str) -> str:
    """Return the name. Raises ValueError, which quotes nothing, for what is none."""
    if NAME.fullmatch(text) is None:
        raise ValueError(
            "an account's name has 1 to 32 lower-case letters, digits and hyphens, and begins with no hyphen"
        )
    return text


def _codes(given: object) -> object:
    return words(given) if isinstance(given, str) else given


def _exchanges(codes: tuple[str, ...]) -> tuple[str, ...]:
    if not EXCHANGES.issuperset(codes):
        raise ValueError(f"one of the exchanges is not known; there are {', '.join(sorted(EXCHANGES))}")
    return tuple(dict.fromkeys(codes))


def _fields(given: object) -> object:
    # A table in TOML; what is no text in it is told by the next validator, as in JSON.
    return msgspec.json.encode(given).decode() if isinstance(given, dict) else given


class AccountSettings(BaseModel):
    """One account of several: a table `[[accounts]]`, or variables of its own; no secret shows in `repr`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False, str_max_length=4096
    )

    name: Annotated[str, AfterValidator(account_name)] = Field(
        json_schema_extra={"allowed": "1 to 32 lower-case letters, digits and hyphens"},
        description="What the account is called in statistics, journal and commands; without it, in a table,"
        " as its broker.",
    )
    broker: BrokerName = Field(
        description="The account's broker; without it the one that is called as the account is."
    )
    broker_api_key: SecretStr = Field(
        alias="api_key", min_length=1, description="The API key of the app at the broker."
    )
    broker_access_token: SecretStr = Field(
        SecretStr(""),
        alias="access_token",
        min_length=1,
        description="The access token of today's login; not needed where `brokerpool login ACCOUNT` has"
        " stored one.",
    )
    broker_api_secret: SecretStr = Field(
        SecretStr(""),
        alias="api_secret",
        min_length=1,
        description="The API secret of the app, with which `brokerpool login ACCOUNT` makes an access token.",
    )
    broker_ws_url: WebSocketUrl = Field(
        "", alias="ws_url", description="The broker's WebSocket feed, where it is not the broker's own."
    )
    broker_http_url: HttpUrl = Field(
        "", alias="http_url", description="The broker's HTTP API, where it is not the broker's own."
    )
    broker_login_url: HttpUrl = Field(
        "", alias="login_url", description="The broker's login page, where it is not the broker's own."
    )
    broker_login_fields: Annotated[LoginFields, BeforeValidator(_fields)] = Field(
        SecretStr(""),
        alias="login_fields",
        description="What the broker's login needs besides, by the broker's names: in TOML a table of texts.",
    )
    exchanges: Annotated[tuple[str, ...], BeforeValidator(_codes), AfterValidator(_exchanges)] = Field(
        (),
        json_schema_extra={"allowed": 'a list such as ["NSE", "NFO"]; in the environment NSE,NFO'},
        description="The exchanges that the account serves; without it all that its broker lists.",
    )
    max_symbols_per_websocket: Count = Field(
        1000,
        description="Symbols that one of its connections carries; without it MAX_SYMBOLS_PER_WEBSOCKET.",
    )
    max_websocket_connections: Count = Field(
        3,
        description="Connections of its own that are open at the same time; without it"
        " MAX_WEBSOCKET_CONNECTIONS.",
    )
    orders: bool = Field(
        default=False,
        json_schema_extra={"allowed": "true or false"},
        description="Whether orders are passed through to this account, as BROKERPOOL_ORDERS_ACCOUNT says;"
        " of one account only.",
    )

    deep_book: Switch = Field(
        default=False,
        description="Whether the account has its broker's deeper order book: a feed of its own, for clients"
        " that ask for more levels.",
    )

    #: Member -> the name under which a person writes it.
    _places: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def placed(cls, places: Mapping[str, str], values: Mapping[str, Any]) -> Self:
        """Return the account of these values, which knows under which names they are written.

        Raises pydantic's ValidationError.
        """
        account = cls(**values)
        account._places = dict(places)
        return account

    @classmethod
    def unchecked(cls, places: Mapping[str, str], values: Mapping[str, Any]) -> Self:
        """Return the account of values that have been checked under other names."""
        account = cls.model_construct(**values)
        account._places = dict(places)
        return account

    def setting(self, member: str) -> str:
        """Return the name under which a person writes a member, as in BROKERPOOL_BROKER_ACCESS_TOKEN."""
        return self._places[member]

    def access(
        self,
        credentials: Credentials | None = None,
        *,
        provider: Provider | None = None,
        egress: Egress | None = None,
    ) -> Access:
        """Return what these settings give of the account; `credentials` stand for the access token's."""
        return Access(
            self.broker_api_key.get_secret_value(),
            credentials or Credentials(self.broker_access_token.get_secret_value()),
            api_secret=self.broker_api_secret.get_secret_value(),
            ws_url=self.broker_ws_url,
            http_url=self.broker_http_url,
            login_url=self.broker_login_url,
            fields=login_fields(self.broker_login_fields.get_secret_value()),
            provider=provider,
            egress=egress,
            orders=self.orders,
            deep_book=self.deep_book,
        )

    def warnings(self, *, symbols_per_connection: int, max_connections: int) -> list[str]:
        """Return one sentence for each setting above the broker's published limit, which holds anyway."""
        limits = {
            "max_symbols_per_websocket": symbols_per_connection,
            "max_websocket_connections": max_connections,
        }
        return above_published(self.broker, self, limits, self._places)
