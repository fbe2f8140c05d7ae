"""The error catalogue: every code with its cause and the next step, and the exceptions that carry them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from brokerpool.instruments import Instrument


class Entry(NamedTuple):
    """What the documentation says about one code."""

    cause: str
    action: str


class ErrorCode(Enum):
    """Stable codes; clients and scripts may rely on the names. The value is the catalogue's entry."""

    # -- the pool -----------------------------------------------------------------------------------------
    MAX_CAPACITY_REACHED = Entry(
        "Every allowed connection is full, so the symbol has no place.",
        "Unsubscribe what is no longer needed, or raise MAX_SYMBOLS_PER_WEBSOCKET or"
        " MAX_WEBSOCKET_CONNECTIONS up to the broker's limit.",
    )
    SYMBOL_NOT_FOUND = Entry(
        "The broker's instrument list has no such exchange and symbol.",
        "Check the spelling (NSE:INFY, NFO:NIFTY24APR25FUT); contracts leave the list when they expire.",
    )
    POOL_CLOSED = Entry(
        "The pool was closed before the call.",
        "Open a new pool; a closed one is not opened again.",
    )
    NOT_LIVE_IN_TIME = Entry(
        "Some symbols had no first tick within the time that the caller gave.",
        "Look at the connection states in the error: a closed market sends none; a parked connection needs"
        " new credentials.",
    )
    BROKER_UNREACHABLE = Entry(
        "The broker did not answer, or not as its documentation says.",
        "Check the network and the broker's status page.",
    )
    BROKER_REFUSED_CREDENTIALS = Entry(
        "The broker answered 401 or 403: the access token is wrong or has expired.",
        "Log in to the broker again and give the new access token; no dial is tried with the old one.",
    )

    BROKER_REFUSED_CALL = Entry(
        "The broker understood a call and refused it, for what it asked or for a permission that is missing.",
        "Read the broker's words in the message; the same call would be refused again.",
    )
    INTERVAL_NOT_SUPPORTED = Entry(
        "The broker has no candles of this length.",
        "Ask for one of the intervals that the message names.",
    )

    # -- HTTP calls to the broker -------------------------------------------------------------------------
    HTTP_QUEUE_FULL = Entry(
        "As many calls wait for a connection as may wait in one lane, so one more was refused at once.",
        "Ask less often, share equal reads or batch them, or raise max_waiting; the text tells who holds the"
        " connections.",
    )
    HTTP_WAIT_TOO_LONG = Entry(
        "A call stood in line for as long as it may without getting a connection; nothing of it was sent.",
        "Look at who holds the connections or which rate limit is used up; raise pool_maxsize or max_wait if"
        " that is normal.",
    )
    HTTP_TOO_MANY_HOSTS = Entry(
        "A call went to one more host than there are pools, and all of those are in use.",
        "Raise pool_connections to the number of hosts that the broker has.",
    )
    RATE_LIMITED = Entry(
        "The broker said that calls come too fast, and the time that it asked for is not over; nothing of the"
        " call was sent.",
        "Call again after the seconds in retry_after, and less often; the rate limits may be set too high.",
    )
    BREAKER_OPEN = Entry(
        "The broker failed several times in a short time, so the call was not sent.",
        "Call again after the seconds in retry_after; meanwhile check the broker's status page.",
    )
    CALL_NOT_SENT = Entry(
        "No connection to the broker came about, so nothing of the call was sent.",
        "Check the network and the address; the call may safely be made again.",
    )
    CALL_FAILED = Entry(
        "The call was sent and no complete answer came, also after the repeats that a read may have.",
        "Check the network and the broker's status page, then call again.",
    )
    CALL_TIMED_OUT = Entry(
        "The call was not answered within its time, which spans the waiting in line and all repeats.",
        "Check the broker's status page, or give the call a longer timeout.",
    )
    TLS_NOT_TRUSTED = Entry(
        "The certificate of the broker's host is not valid for it, or from an unknown authority.",
        "Check base_url and the clock; behind a company proxy give an ssl_context that knows its authority.",
    )
    ANSWER_TOO_LARGE = Entry(
        "The body of the answer is larger than the client accepts; reading it was given up.",
        "Ask for less at once, or raise max_body_bytes.",
    )
    ANSWER_NOT_JSON = Entry(
        "The body of the answer is not JSON.", "Look at the status of the answer before its body."
    )
    OUTCOME_UNKNOWN = Entry(
        "A call that changes something, such as an order, was sent and no clear answer came: it may have been"
        " carried out or not.",
        "Do not send it again. Ask the broker for its orders and look for the tag (the error's reconcile"
        " does), then decide.",
    )

    # -- the database pool --------------------------------------------------------------------------------
    DB_WAIT_TOO_LONG = Entry(
        "All connections to the database were held by others for as long as a caller may wait.",
        "Look at who holds them: the text names the longest with file and line. Return them sooner, or raise"
        " pool_size, max_overflow or pool_timeout if that is normal.",
    )
    DB_QUEUE_FULL = Entry(
        "As many callers wait for a database connection as may wait, so one more was refused at once.",
        "Look at who holds the connections, do with fewer at the same time, or raise max_waiting.",
    )
    DB_UNREACHABLE = Entry(
        "No usable connection to the database came about: it is down, does not answer or refuses the user.",
        "Check that the database runs and DATABASE_URL is right; the next call tries again by itself.",
    )

    # -- the process --------------------------------------------------------------------------------------
    INVALID_SETTINGS = Entry(
        "One or more settings are missing or out of range; the message lists all of them.",
        "Correct the named settings in the environment, the .env file or the TOML file.",
    )
    ADDRESS_IN_USE = Entry(
        "Another program listens on the address already.",
        "Stop it, or set WEBSOCKET_PORT or BROKERPOOL_HTTP_PORT to another port (0 takes any free one).",
    )

    # -- the database -------------------------------------------------------------------------------------
    DB_BUSY = Entry(
        "Another process held the database locked for longer than one waits for it.",
        "Look for a long transaction or a backup that runs; then try again.",
    )
    DB_READ_ONLY = Entry(
        "The database cannot be written: the file, its folder, its disk or the server is read-only.",
        "Make the file and its folder writable for this user, or point DATABASE_URL at a primary server.",
    )
    DB_FULL = Entry(
        "The database has no room left: its disk is full, or a limit on its size is reached.",
        "Make room on the disk; nothing that was acknowledged is lost, and what waits is written then.",
    )
    DB_DISK_FAULT = Entry(
        "The disk refused a read or a write of the database: a quota or a limit on file size is used up, or"
        " it is broken.",
        "Look at the quota, the limits of the process (ulimit -f) and the system's log.",
    )
    DB_DAMAGED = Entry(
        "The file is no database, or parts of it cannot be read.",
        "Check DATABASE_URL; if it is the right file, restore it from a backup.",
    )
    DB_SCHEMA_NEWER = Entry(
        "A newer version of brokerpool has upgraded the database; nothing in it was touched.",
        "Run that version or a newer one, or restore the backup from before the upgrade.",
    )
    DB_FAILED = Entry(
        "The database refused a statement for a reason that has no code of its own.",
        "Run `brokerpool db check`; if it finds nothing, report the text.",
    )
    SECRET_KEY_MISSING = Entry(
        "Broker credentials are kept encrypted, and BROKERPOOL_SECRET_KEY does not say with which key.",
        "Make one with `openssl rand -base64 32 | tr +/ -_` and keep it apart from the backups.",
    )
    SECRET_KEY_WRONG = Entry(
        "BROKERPOOL_SECRET_KEY does not hold the key with which the credentials were encrypted.",
        "Add the former key after a comma, or log in again with `brokerpool login`.",
    )
    CREDENTIALS_DAMAGED = Entry(
        "The stored credentials were changed after they were written, and are not used.",
        "Log in again with `brokerpool login`, and find out who else writes to the database.",
    )
    NO_CREDENTIALS = Entry("No login of the broker is stored.", "Store one with `brokerpool login`.")
    KEY_NAME_TAKEN = Entry(
        "A valid API key has that name already.", "Choose another name, or revoke that key first."
    )
    KEY_NOT_FOUND = Entry("No valid API key has that name.", "Look at `brokerpool keys list`.")
    TOO_MANY_KEYS = Entry(
        "As many API keys are valid as may be at the same time.", "Revoke those that nobody uses."
    )

    # -- the gateway's clients ----------------------------------------------------------------------------
    INVALID_JSON = Entry("The frame is not a JSON object.", "Send one JSON object per frame.")
    INVALID_ACTION = Entry(
        "The action is missing or not one that this gateway knows.",
        "Use authenticate, subscribe, unsubscribe, unsubscribe_all, subscribe_orders, unsubscribe_orders,"
        " get_broker_info, get_supported_brokers or ping.",
    )
    INVALID_MODE = Entry("The mode is none of 1, 2, 3, LTP, Quote, Depth.", "Send one of these.")
    INVALID_PARAMETERS = Entry(
        "A field is missing or has the wrong type.", "Compare the request with the protocol page."
    )
    AUTHENTICATION_ERROR = Entry(
        "The API key is missing, wrong or revoked.",
        "Send the key in BROKERPOOL_API_KEY, or one of `brokerpool keys create`.",
    )
    ADDRESS_LOCKED_OUT = Entry(
        "Too many wrong API keys came from one address; for a while its wrong keys are refused at once.",
        "Find the program that sends a wrong key. Right keys are accepted meanwhile, from that address too.",
    )
    SCOPE_MISSING = Entry(
        "The API key is valid and does not allow this.",
        "Use a key with the scope in the message: `brokerpool keys create NAME --scope SCOPE` makes one.",
    )
    KEY_CLIENT_LIMIT = Entry(
        "As many clients are connected with one API key as may be.",
        "End some of them, use a key for each program, or raise BROKERPOOL_MAX_CLIENTS_PER_KEY.",
    )
    KEY_SYMBOL_LIMIT = Entry(
        "All clients with one API key together hold as many symbols as they may.",
        "Unsubscribe some, use a key for each program, or raise BROKERPOOL_MAX_SYMBOLS_PER_KEY.",
    )
    KEY_RATE_LIMIT = Entry(
        "More requests came with one API key than BROKERPOOL_KEY_RATE_LIMIT allows.",
        "Send it again after the seconds in retry_after, or raise BROKERPOOL_KEY_RATE_LIMIT.",
    )
    HOST_NOT_ALLOWED = Entry(
        "The request was sent to a host name that is not known to be the gateway's; a web page may have been"
        " tricked into it.",
        "Call the gateway by its address, or name it in BROKERPOOL_ALLOWED_HOSTS.",
    )
    ORIGIN_NOT_ALLOWED = Entry(
        "A web page of another host sent the request.",
        "If the page is yours, name its origin in BROKERPOOL_ALLOWED_ORIGINS, as in https://my.example.",
    )
    NO_API_KEY = Entry(
        "The gateway knows no API key, so no client could authenticate.",
        "Make one with `brokerpool keys create NAME`, or set BROKERPOOL_API_KEY.",
    )
    NOT_AUTHENTICATED = Entry(
        "The action needs authentication first.", "Send authenticate with the API key, then repeat."
    )
    ORDERS_NOT_CARRIED = Entry(
        "The client asked for order updates, and this gateway carries market data only.",
        "Take order updates from the broker or from OpenAlgo's own server.",
    )
    API_RATE_LIMIT_REACHED = Entry(
        "One address sent more REST requests than API_RATE_LIMIT allows; the present one is not answered.",
        "Send it again after the seconds in retry_after, use the WebSocket for what is asked often, or raise"
        " API_RATE_LIMIT.",
    )
    LOCAL_HISTORY_NOT_KEPT = Entry(
        'Candles were asked for with the source "db", and the gateway keeps none of its own.',
        'Leave the source out, or send "api": the broker is asked then.',
    )
    REQUEST_TOO_LARGE = Entry(
        "The body of a REST request is larger than the gateway accepts.",
        "Send several smaller requests.",
    )
    UNKNOWN_ENDPOINT = Entry(
        "The gateway has no such path, or not for this HTTP method.",
        "Look at /docs for those that there are.",
    )
    GATEWAY_FAULT = Entry(
        "The gateway itself failed to answer a REST request.",
        "Report it with the gateway's log, which has the details.",
    )
    CLIENT_SYMBOL_LIMIT = Entry(
        "The client holds as many symbols as one client may.",
        "Unsubscribe some, spread them over several clients, or raise BROKERPOOL_MAX_SYMBOLS_PER_CLIENT.",
    )

    @property
    def cause(self) -> str:
        return self.value.cause

    @property
    def action(self) -> str:
        return self.value.action


class BrokerpoolError(Exception):
    """Base of all errors raised here; `code` is stable, the text says what happened and what to do next."""

    code: ErrorCode

    def __init__(self, message: str, *, code: ErrorCode | None = None) -> None:
        if code is not None:
            self.code = code
        super().__init__(f"{self.code.name}: {message} {self.code.action}")


class Refused(NamedTuple):
    """One symbol of a batch that was not accepted, and why."""

    instrument: Instrument
    code: ErrorCode
    message: str


class SubscriptionError(BrokerpoolError):
    """A batch was refused as a whole and nothing changed; `refused` lists the symbols at fault."""

    def __init__(self, message: str, refused: Sequence[Refused]) -> None:
        super().__init__(message)
        self.refused = tuple(refused)


class PoolExhaustedError(SubscriptionError):
    """The batch does not fit into the connections that the pool may open."""

    code = ErrorCode.MAX_CAPACITY_REACHED


class UnknownInstrumentError(SubscriptionError):
    """The batch names instruments that the broker does not list."""

    code = ErrorCode.SYMBOL_NOT_FOUND


class PoolClosedError(BrokerpoolError):
    """The pool was closed before the call."""

    code = ErrorCode.POOL_CLOSED


class NotLiveError(BrokerpoolError):
    """Symbols without a first tick when the caller's time was up; `states` tells how far each one came."""

    code = ErrorCode.NOT_LIVE_IN_TIME

    def __init__(self, message: str, states: Mapping[Instrument, str]) -> None:
        super().__init__(message)
        self.states = dict(states)


class BrokerError(BrokerpoolError):
    """The broker could not be reached, or has refused the credentials or a call.

    `retry_after` is the number of seconds until another call makes sense, where that is known.
    """

    retry_after: float | None = None


class CallRefusedError(BrokerpoolError):
    """A call that the client itself did not let out; nothing was sent, so it may be made again.

    `retry_after` is the number of seconds until it makes sense, where that is known.
    """

    def __init__(self, message: str, *, code: ErrorCode, retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class CallFailedError(BrokerpoolError):
    """A call without a complete answer; `sent` tells whether any of it may have reached the broker."""

    def __init__(self, message: str, *, code: ErrorCode, sent: bool) -> None:
        super().__init__(message, code=code)
        self.sent = sent


class OutcomeUnknown(BrokerpoolError):  # noqa: N818  (no error of anybody's: it is what is known of an order)
    """A call that changes something was sent, and whether it was carried out is not known.

    `tag` is the tag that the caller gave the order, `status` the broker's unclear answer if there was one.
    `reconcile`, where the client was given such a hook, asks the broker what became of the tag.
    """

    code = ErrorCode.OUTCOME_UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        tag: str | None,
        status: int | None = None,
        reconcile: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.tag = tag
        self.status = status
        self.reconcile = reconcile


class DatabaseUnavailableError(BrokerpoolError):
    """No connection to the database for this caller; nothing was sent, so it may try again."""


class StoreError(BrokerpoolError):
    """The database, or what it holds, is at fault; the text quotes no statement and no value."""


class AccessError(BrokerpoolError):
    """The gateway does not let somebody in, or not that far; `fault` is the message alone.

    `retry_after` tells in how many seconds it may be tried again, None when that would not help.
    """

    def __init__(self, fault: str, *, code: ErrorCode, retry_after: float | None = None) -> None:
        super().__init__(fault, code=code)
        self.fault = fault
        self.retry_after = retry_after


class SettingsError(BrokerpoolError):
    """Settings at fault, all of them at once; values are never quoted, for they may be secrets."""

    code = ErrorCode.INVALID_SETTINGS
