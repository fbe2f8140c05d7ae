"""The stable codes of all errors, and what the catalogue, `error_catalogue.toml`, says about each."""

from __future__ import annotations

from enum import Enum, auto
from functools import cache
from typing import NamedTuple


class Entry(NamedTuple):
    """What the catalogue says about one code."""

    cause: str
    #: What brokerpool itself has done, or left undone, by the time that the error is told.
    response: str
    action: str


class ErrorCode(Enum):
    """Stable codes; clients and scripts may rely on the names. The value is the name."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name

    # -- the pool ------------------------------------------------------------------------------------------
    MAX_CAPACITY_REACHED = auto()
    SYMBOL_NOT_FOUND = auto()
    POOL_CLOSED = auto()
    POOL_FORKED = auto()
    CONNECTION_UNKNOWN = auto()
    CONNECTION_NOT_MOVABLE = auto()
    NOT_LIVE_IN_TIME = auto()
    BROKER_UNREACHABLE = auto()
    BROKER_REFUSED_CREDENTIALS = auto()
    BROKER_REFUSED_CALL = auto()
    INTERVAL_NOT_SUPPORTED = auto()

    # -- HTTP calls to the broker --------------------------------------------------------------------------
    HTTP_QUEUE_FULL = auto()
    HTTP_WAIT_TOO_LONG = auto()
    HTTP_TOO_MANY_HOSTS = auto()
    RATE_LIMITED = auto()
    BREAKER_OPEN = auto()
    HOOK_FAILED = auto()
    CALL_NOT_SENT = auto()
    CALL_FAILED = auto()
    CALL_TIMED_OUT = auto()
    PROXY_REFUSED = auto()
    TLS_NOT_TRUSTED = auto()
    ANSWER_TOO_LARGE = auto()
    ANSWER_NOT_JSON = auto()
    OUTCOME_UNKNOWN = auto()

    # -- the database pool ---------------------------------------------------------------------------------
    DB_WAIT_TOO_LONG = auto()
    DB_QUEUE_FULL = auto()
    DB_UNREACHABLE = auto()

    # -- the process ---------------------------------------------------------------------------------------
    INVALID_SETTINGS = auto()
    ADDRESS_IN_USE = auto()
    WORKER_FAILED = auto()
    GATEWAY_UNREACHABLE = auto()

    # -- the database --------------------------------------------------------------------------------------
    DB_BUSY = auto()
    DB_READ_ONLY = auto()
    DB_FULL = auto()
    DB_DISK_FAULT = auto()
    DB_DAMAGED = auto()
    DB_MOVED = auto()
    DB_SCHEMA_MISSING = auto()
    DB_FORBIDDEN = auto()
    DB_POOLER_REFUSES = auto()
    DB_SCHEMA_NEWER = auto()
    DB_FAILED = auto()
    SECRET_KEY_MISSING = auto()
    SECRET_KEY_WRONG = auto()
    CREDENTIALS_DAMAGED = auto()
    NO_CREDENTIALS = auto()
    KEY_NAME_TAKEN = auto()
    KEY_NOT_FOUND = auto()
    TOO_MANY_KEYS = auto()

    # -- many machines -------------------------------------------------------------------------------------
    BUS_UNREACHABLE = auto()
    FEED_UNREACHABLE = auto()

    # -- the gateway's clients -----------------------------------------------------------------------------
    NOT_ANSWERED_IN_TIME = auto()
    INVALID_JSON = auto()
    INVALID_ACTION = auto()
    INVALID_MODE = auto()
    INVALID_PARAMETERS = auto()
    AUTHENTICATION_ERROR = auto()
    ADDRESS_LOCKED_OUT = auto()
    KEYS_NOT_READ = auto()
    SCOPE_MISSING = auto()
    KEY_CLIENT_LIMIT = auto()
    KEY_SYMBOL_LIMIT = auto()
    KEY_RATE_LIMIT = auto()
    HOST_NOT_ALLOWED = auto()
    ORIGIN_NOT_ALLOWED = auto()
    NO_API_KEY = auto()
    NOT_AUTHENTICATED = auto()
    ORDERS_NOT_CARRIED = auto()
    API_RATE_LIMIT_REACHED = auto()
    LOCAL_HISTORY_NOT_KEPT = auto()
    REQUEST_TOO_LARGE = auto()
    GATEWAY_BUSY = auto()
    TOO_MANY_DASHBOARDS = auto()
    UNKNOWN_ENDPOINT = auto()
    GATEWAY_FAULT = auto()
    CLIENT_SYMBOL_LIMIT = auto()

    @property
    def cause(self) -> str:
        """What has happened when an error has this code."""
        return self._entry().cause

    @property
    def response(self) -> str:
        """What brokerpool itself has done, or left undone, by the time that the error is told."""
        return self._entry().response

    @property
    def action(self) -> str:
        """What to do next."""
        return self._entry().action

    def _entry(self) -> Entry:
        try:
            return _catalogue()[self.name]
        except (
            OSError
        ) as fault:  # as when no file can be opened any more: that error is to be told all the same
            unread = f"The catalogue of errors cannot be read now ({fault.strerror})."
            return Entry(unread, unread, f"{unread} Look up what to do with `brokerpool errors {self.name}`.")


@cache
def _catalogue() -> dict[str, Entry]:
    """Return the texts of all codes; read when one is asked for, so that an import does not pay for them."""
    import tomllib
    from importlib import resources

    text = resources.files("brokerpool").joinpath("error_catalogue.toml").read_text("utf-8")
    return {code: Entry(**texts) for code, texts in tomllib.loads(text).items()}
