"""Every setting: from TOML, an `.env` file and the environment, validated, all faults reported at once."""

from __future__ import annotations

import base64
import difflib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from brokerpool.errors import SettingsError
from brokerpool.holidays import HolidayFile, Hours, with_holiday_file
from brokerpool.hours import MarketHours

#: Names that no other system uses already start with this, so a misspelt one can be told from a stranger's.
PREFIX = "BROKERPOOL_"
_FERNET_KEY_BYTES = 32

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=4_096, le=1_073_741_824)]
Host = Annotated[str, Field(pattern=r"^\S+$", json_schema_extra={"allowed": "a host name or an address"})]
WebSocketUrl = Annotated[
    str, Field(pattern=r"^wss?://[^\s/]+", json_schema_extra={"allowed": "a ws:// or wss:// URL"})
]
HttpUrl = Annotated[
    str, Field(pattern=r"^https?://[^\s/]+", json_schema_extra={"allowed": "an http:// or https:// URL"})
]

#: Seconds of a unit in which OpenAlgo tells rates.
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0}
RateLimit = Annotated[
    str,
    Field(
        pattern=rf"^[1-9][0-9]{{0,5}} per ({'|'.join(_UNITS)})$",
        json_schema_extra={"allowed": "a whole number and a unit, as in 50 per second (minute, hour, day)"},
    ),
]
FileName = Annotated[str, Field(json_schema_extra={"allowed": "the path of a file"})]
#: Words separated by commas.
Words = Annotated[str, Field(pattern=r"^[^\s,]+(, *[^\s,]+)*$")]


def _rate(limit: str) -> tuple[int, float]:
    most, _, unit = limit.split()
    return int(most), _UNITS[unit]


def words(text: str) -> list[str]:
    """Return the words of a setting that holds several, separated by commas."""
    return [word for part in text.split(",") if (word := part.strip())]


def _networks(text: str) -> str:
    for word in words(text):
        try:
            ip_network(word)
        except ValueError:
            raise ValueError("one of the words is no address and no network") from None
    return text


def _database(url: SecretStr) -> SecretStr:
    if not re.match(r"(sqlite:///.|postgres(ql)?(\+psycopg)?://.)", url.get_secret_value()):
        raise ValueError("begin with sqlite:/// or postgresql://")
    return url


def _fernet_keys(secret: SecretStr) -> SecretStr:
    """Raise ValueError unless each key is 32 bytes in URL-safe base64, as Fernet wants them."""
    for key in filter(None, map(str.strip, secret.get_secret_value().split(","))):
        try:
            length = len(base64.b64decode(key, altchars=b"-_", validate=True))
        except ValueError:
            length = 0
        if length != _FERNET_KEY_BYTES:
            raise ValueError("one of the keys is no Fernet key (32 bytes in URL-safe base64)")
    return secret


class _Named(BaseSettings):
    """Settings under the names of the environment; the constructor reads nothing but its arguments."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        case_sensitive=True,
        env_ignore_empty=True,
        # An empty text stands for what was not given, also where one that is given must not be empty.
        validate_default=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @classmethod
    def load(
        cls,
        *,
        env_file: Path | None = None,
        config: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """Read the settings: the environment wins over `env_file`, which wins over `config` (TOML).

        An empty value in the environment or in `env_file` counts as not given.
        Raises SettingsError, which names every fault of all sources and never quotes a value.
        """
        from_toml = _read_toml(cls, config)
        from_file = _read_env_file(cls, env_file)
        from_environment = {name: value for name, value in environ.items() if value}
        ours = {name for name in (*from_file, *from_environment) if name.startswith(PREFIX)}
        faults = [_stranger(name) for name in sorted((ours | set(from_toml)) - NAMES)]
        given: dict[str, Any] = {**from_toml, **from_file, **from_environment}
        own = {name: given[name] for name in _names(cls) if name in given}
        try:
            settings = cls(**own)
        except ValidationError as error:
            faults += [_fault(cls, detail) for detail in error.errors()]
        if faults:
            raise SettingsError(_sentence(faults))
        return settings


class PoolSettings(_Named):
    """The connections to the broker and what each may carry."""

    broker: Literal["zerodha"] = Field(
        "zerodha", alias="BROKERPOOL_BROKER", description="The broker whose feed is pooled."
    )
    max_symbols_per_websocket: Count = Field(
        1000,
        alias="MAX_SYMBOLS_PER_WEBSOCKET",
        description="Symbols that one broker connection carries.",
    )
    max_websocket_connections: Count = Field(
        3, alias="MAX_WEBSOCKET_CONNECTIONS", description="Broker connections open at the same time."
    )
    placement: Literal["fill-first", "least-loaded"] = Field(
        "fill-first",
        alias="BROKERPOOL_PLACEMENT",
        description="Whether symbols fill one broker connection after the other or spread evenly over all.",
    )
    linger_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        30.0,
        alias="BROKERPOOL_LINGER_SECONDS",
        description="Seconds for which a broker connection without symbols stays open.",
    )
    failover_seconds: Seconds = Field(
        5.0,
        alias="BROKERPOOL_FAILOVER_SECONDS",
        description="Seconds after which the symbols of a lost connection move to others that have room.",
    )
    redundancy: Annotated[int, Field(ge=1, le=2)] = Field(
        1,
        alias="BROKERPOOL_REDUNDANCY",
        description="Connections that carry each symbol; with 2 the first tick wins, and half as many fit.",
    )
    hours: Hours = Field(
        "india",
        alias="BROKERPOOL_MARKET_HOURS",
        description="When exchanges trade, in IST; outside, silence is normal and triggers nothing.",
    )
    holidays_file: HolidayFile = Field(
        "",
        alias="BROKERPOOL_HOLIDAYS_FILE",
        description="Days on which exchanges are closed or trade at other hours, one a line.",
    )

    @cached_property
    def market_hours(self) -> MarketHours:
        """The hours with the holidays, read once; a change of the file needs a restart."""
        return with_holiday_file(MarketHours.parse(self.hours), self.holidays_file)

    def warnings(self, *, symbols_per_connection: int, max_connections: int) -> list[str]:
        """Return one sentence for each setting above the broker's published limit; they are allowed."""
        published = {
            "MAX_SYMBOLS_PER_WEBSOCKET": (self.max_symbols_per_websocket, symbols_per_connection),
            "MAX_WEBSOCKET_CONNECTIONS": (self.max_websocket_connections, max_connections),
        }
        return [
            f"{name} is {value}, above the {limit} that {self.broker} publishes: expect the broker to refuse"
            f" what is beyond it."
            for name, (value, limit) in published.items()
            if value > limit
        ]


class BrokerSettings(_Named):
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


class HttpSettings(_Named):
    """The connections of the HTTP pool, which carry quotes and candles."""

    pool_connections: Annotated[int, Field(ge=1, le=100)] = Field(
        10, alias="POOL_CONNECTIONS", description="Hosts of the broker that are called at the same time."
    )
    pool_maxsize: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, alias="POOL_MAXSIZE", description="HTTP connections to each host of the broker."
    )
    max_retries: Annotated[int, Field(ge=0, le=10)] = Field(
        3, alias="MAX_RETRIES", description="How often a read that failed is repeated."
    )
    backoff_factor: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = Field(
        0.5,
        alias="BACKOFF_FACTOR",
        description="Seconds before the first repeat; each further one waits twice as long.",
    )
    http_timeout: Seconds = Field(
        10.0,
        alias="BROKERPOOL_HTTP_TIMEOUT",
        description="Seconds that a call to the broker may take, with waiting and repeats.",
    )


class GatewaySettings(_Named):
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
        description="A key that allows everything at the gateway, made up by yourself; not needed where"
        " `brokerpool keys create` has made some.",
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
        description="Clients connected at the same time; one more is refused with HTTP 503. The REST listener"
        " has as many connections of its own.",
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
        return _rate(self.api_rate_limit)


class AccessSettings(_Named):
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
    allowed_hosts: Words = Field(
        "",
        alias="BROKERPOOL_ALLOWED_HOSTS",
        json_schema_extra={"allowed": "host names separated by commas, or *"},
        description="Names by which clients may call the gateway, besides localhost, the name that it listens"
        " on, and addresses.",
    )
    allowed_origins: Words = Field(
        "",
        alias="BROKERPOOL_ALLOWED_ORIGINS",
        json_schema_extra={"allowed": "origins such as https://my.example separated by commas, or *"},
        description="Web pages of other hosts that may call the gateway; those of its own host may.",
    )
    trusted_proxies: Annotated[Words, AfterValidator(_networks)] = Field(
        "",
        alias="BROKERPOOL_TRUSTED_PROXIES",
        json_schema_extra={"allowed": "addresses or networks separated by commas"},
        description="Reverse proxies whose X-Forwarded-For tells the client's address.",
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
        return _rate(self.key_rate_limit)


class DatabaseSettings(_Named):
    """The database: API keys, logins at the broker, the saved demand and the history."""

    database_url: Annotated[SecretStr, AfterValidator(_database)] = Field(
        SecretStr("sqlite:///brokerpool.db"),
        alias="DATABASE_URL",
        description="Where data is kept: a SQLite file, or a PostgreSQL server.",
        json_schema_extra={
            "default": "sqlite:///brokerpool.db",
            "allowed": "sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME",
        },
    )
    db_pool_size: Count = Field(
        5, alias="BROKERPOOL_DB_POOL_SIZE", description="Connections to the database that are kept."
    )
    db_max_overflow: Annotated[int, Field(ge=0, le=1_000)] = Field(
        10,
        alias="BROKERPOOL_DB_MAX_OVERFLOW",
        description="Connections to the database opened beyond these under load.",
    )
    db_pool_timeout: Seconds = Field(
        30.0,
        alias="BROKERPOOL_DB_POOL_TIMEOUT",
        description="Seconds that a caller waits for a connection to the database before it gets an error.",
    )
    secret_key: Annotated[SecretStr, AfterValidator(_fernet_keys)] = Field(
        SecretStr(""),
        alias="BROKERPOOL_SECRET_KEY",
        json_schema_extra={"allowed": "Fernet keys separated by commas, the newest first, or empty"},
        description="Encrypts the broker credentials in the database; without it none are kept there.",
    )


class Settings(PoolSettings, BrokerSettings, HttpSettings, GatewaySettings, AccessSettings, DatabaseSettings):
    """Everything that `brokerpool serve` needs."""


class Described(NamedTuple):
    """One setting as the reference page shows it; `default` is None where a value must be given."""

    name: str
    default: str | None
    allowed: str
    meaning: str
    secret: bool


def describe(group: type[BaseSettings]) -> list[Described]:
    """Return the settings of a group in the order in which the group declares them."""
    properties: dict[str, dict[str, Any]] = group.model_json_schema()["properties"]
    return [
        Described(
            name,
            _plain(schema["default"]) if "default" in schema else None,
            _allowed(schema),
            schema["description"],
            secret=schema.get("format") == "password",
        )
        for name, schema in properties.items()
    ]


def _allowed(schema: Mapping[str, Any]) -> str:
    """Say in words what the schema of one setting allows."""
    if "allowed" in schema:
        return str(schema["allowed"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(schema["enum"])
    if schema.get("format") == "password":
        least = schema["minLength"]
        return f"a secret of at least {least} characters" if least > 1 else "a secret"
    noun = "a whole number" if schema["type"] == "integer" else "a number"
    most = _plain(schema["maximum"])
    if "exclusiveMinimum" in schema:
        return f"{noun} above {_plain(schema['exclusiveMinimum'])} and at most {most}"
    return f"{noun} from {_plain(schema['minimum'])} to {most}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def _names(group: type[_Named]) -> list[str]:
    return [setting.name for setting in describe(group)]


#: The name of every setting.
NAMES = frozenset(_names(Settings))


def _read_toml(group: type[_Named], path: Path | None) -> dict[str, Any]:
    _must_exist(path)
    try:
        return TomlConfigSettingsSource(group, toml_file=path).toml_data
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from None


def _read_env_file(group: type[_Named], path: Path | None) -> Mapping[str, str | None]:
    _must_exist(path)
    try:
        return DotEnvSettingsSource(group, env_file=path).env_vars
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text.") from None


def _must_exist(path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise SettingsError(f"There is no file {path}.")


def _fault(group: type[_Named], detail: ErrorDetails) -> str:
    name = str(detail["loc"][0])
    setting = next(setting for setting in describe(group) if setting.name == name)
    if detail["type"] == "missing":
        return f"{name} is missing; it is {setting.allowed}"
    if detail["type"] == "value_error":
        # Of our own validators, whose errors quote nothing.
        return f"{name}: {detail['ctx']['error']}"
    return f"{name} must be {setting.allowed}"


def _stranger(name: str) -> str:
    near = difflib.get_close_matches(name.upper(), NAMES, n=1)
    return f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "")


def _sentence(faults: list[str]) -> str:
    return f"{len(faults)} at fault:\n" + "".join(f"  - {fault}\n" for fault in faults)
