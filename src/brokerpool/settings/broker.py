"""The settings of the account: its secrets, and the addresses of its broker."""

from __future__ import annotations

from pydantic import Field, SecretStr

from brokerpool.settings.group import Group
from brokerpool.settings.values import HttpUrl, WebSocketUrl


class BrokerSettings(Group):
    """The account at the broker and where the broker is reached."""

    broker_api_key: SecretStr = Field(
        alias="BROKERPOOL_BROKER_API_KEY",
        min_length=1,
        description="The API key of the app at the broker.",
    )
    broker_access_token: SecretStr = Field(
        SecretStr(""),
        alias="BROKERPOOL_BROKER_ACCESS_TOKEN",
        min_length=1,
        description="The access token of today's login (Zerodha's dies about 07:30 IST the next day); not"
        " needed where `brokerpool login` has stored one.",
    )
    broker_api_secret: SecretStr = Field(
        SecretStr(""),
        alias="BROKERPOOL_BROKER_API_SECRET",
        min_length=1,
        description="The API secret of the app at the broker, with which `brokerpool login` makes an access"
        " token of a login; without it the secret is asked for.",
    )
    broker_ws_url: WebSocketUrl = Field(
        "wss://ws.kite.trade",
        alias="BROKERPOOL_BROKER_WS_URL",
        description="The broker's WebSocket feed; change it for a simulator or a proxy.",
    )
    broker_http_url: HttpUrl = Field(
        "https://api.kite.trade",
        alias="BROKERPOOL_BROKER_HTTP_URL",
        description="The broker's HTTP API, which serves the instrument list.",
    )
    broker_login_url: HttpUrl = Field(
        "https://kite.zerodha.com/connect/login",
        alias="BROKERPOOL_BROKER_LOGIN_URL",
        description="The page on which a person logs in to the broker.",
    )
