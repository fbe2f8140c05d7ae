"""The settings of the account: its secrets, and the addresses of its broker."""

from __future__ import annotations

from pydantic import Field, SecretStr

from brokerpool.settings.field_types import HttpUrl, LoginFields, Switch, WebSocketUrl
from brokerpool.settings.settings_group import Group


class BrokerSettings(Group):
    """The one account at the broker, and where the broker is reached; not for several accounts."""

    broker_api_key: SecretStr = Field(
        alias="BROKERPOOL_BROKER_API_KEY",
        min_length=1,
        description="The API key of the app at the broker.",
    )
    broker_access_token: SecretStr = Field(
        SecretStr(""),
        alias="BROKERPOOL_BROKER_ACCESS_TOKEN",
        min_length=1,
        description="The access token of today's login, which most brokers end every night; not needed where"
        " `brokerpool login` has stored one.",
    )
    broker_api_secret: SecretStr = Field(
        SecretStr(""),
        alias="BROKERPOOL_BROKER_API_SECRET",
        min_length=1,
        description="The API secret of the app at the broker, with which `brokerpool login` makes an access"
        " token of a login; without it the secret is asked for.",
    )
    broker_ws_url: WebSocketUrl = Field(
        "",
        alias="BROKERPOOL_BROKER_WS_URL",
        description="The broker's WebSocket feed, where it is not the broker's own: a simulator, or a proxy.",
    )
    broker_http_url: HttpUrl = Field(
        "",
        alias="BROKERPOOL_BROKER_HTTP_URL",
        description="The broker's HTTP API, where it is not the broker's own; it serves the instrument list.",
    )
    broker_login_url: HttpUrl = Field(
        "",
        alias="BROKERPOOL_BROKER_LOGIN_URL",
        description="The page on which a person logs in to the broker, where it is not the broker's own.",
    )
    broker_login_fields: LoginFields = Field(
        SecretStr(""),
        alias="BROKERPOOL_BROKER_LOGIN_FIELDS",
        description="What the broker's login needs besides key, token and secret, as a JSON object of texts.",
    )
    broker_deep_book: Switch = Field(
        default=False,
        alias="BROKERPOOL_BROKER_DEEP_BOOK",
        description="Whether the account has its broker's deeper order book: a feed of its own, for clients"
        " that ask for more levels.",
    )
