"""The gateway's own settings: addresses, what a client may ask of it, and its log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from brokerpool.settings.field_types import Bytes, Count, Host, Port, RateLimit, Seconds, rate
from brokerpool.settings.settings_group import Group


class GatewaySettings(Group):
    """The gateway's two listeners and what one client may ask of them."""

    websocket_host: Host = Field(
        "127.0.0.1", alias="WEBSOCKET_HOST", description="Address on which WebSocket clients are accepted."
    )
    websocket_port: Port = Field(
        8765,
        alias="WEBSOCKET_PORT",
        description="Port on which WebSocket clients are accepted; 0 takes any free one.",
    )
    http_host: Host = Field(
        "127.0.0.1",
        alias="BROKERPOOL_HTTP_HOST",
        description="Address of the HTTP listener (REST endpoints, `/stats`).",
    )
    http_port: Port = Field(
        5000,
        alias="BROKERPOOL_HTTP_PORT",
        description="Port of the HTTP listener; 0 takes any free one.",
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        alias="BROKERPOOL_API_KEY",
        min_length=16,
        max_length=256,
        description="A key that allows everything at the gateway but orders, made up by yourself; not needed"
        " where `brokerpool keys create` has made some.",
    )
    api_rate_limit: RateLimit = Field(
        "50 per second",
        alias="API_RATE_LIMIT",
        description="REST requests that one address may send, in a moving window.",
    )
    auth_grace_seconds: Seconds = Field(
        15.0,
        alias="WS_AUTH_GRACE_SECONDS",
        description="Seconds that a new client has to authenticate before it is closed with code 4401.",
    )
    ping_interval: Seconds = Field(
        20.0, alias="WS_PING_INTERVAL", description="Seconds between two WebSocket pings to a client."
    )
    ping_timeout: Seconds = Field(
        20.0,
        alias="WS_PING_TIMEOUT",
        description="Seconds that a client has to answer a ping before it is dropped.",
    )
    flush_window_ms: Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)] = Field(
        2.0,
        alias="BROKERPOOL_FLUSH_WINDOW_MS",
        description="Milliseconds for which frames gather under load; 0 sends each at once.",
    )
    client_buffer_bytes: Bytes = Field(
        1_048_576,
        alias="BROKERPOOL_CLIENT_BUFFER_BYTES",
        description="Bytes waiting for one client above which it gets newest values only.",
    )
    client_stuck_seconds: Seconds = Field(
        30.0,
        alias="BROKERPOOL_CLIENT_STUCK_SECONDS",
        description="Seconds that a client may stay behind before it is closed with code 4408.",
    )
    max_clients: Count = Field(
        1000,
        alias="BROKERPOOL_MAX_CLIENTS",
        description="WebSocket clients connected, and REST requests answered, at the same time; one more is"
        " refused with HTTP 503. Idle REST connections, and WebSocket clients that have not shown a key yet,"
        " give way to new ones.",
    )
    max_symbols_per_client: Count = Field(
        3000, alias="BROKERPOOL_MAX_SYMBOLS_PER_CLIENT", description="Symbols that one client may hold."
    )
    max_message_bytes: Bytes = Field(
        1_048_576,
        alias="BROKERPOOL_MAX_MESSAGE_BYTES",
        description="Bytes of one message from a client; a larger one closes it with code 1009.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        alias="BROKERPOOL_LOG_LEVEL",
        description="The least severe log lines written to stderr.",
    )

    log_format: Literal["text", "json"] = Field(
        "text",
        alias="BROKERPOOL_LOG_FORMAT",
        description="Log lines for people that end in key=value, or one JSON object a line.",
    )

    @property
    def api_rate(self) -> tuple[int, float]:
        """The rate limit as a number of requests and the seconds of its window."""
        return rate(self.api_rate_limit)
