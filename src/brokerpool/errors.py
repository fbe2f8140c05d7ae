"""The error catalogue: every code with its cause and the next step, and the exceptions that carry them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from brokerpool.instruments import Instrument


class Entry(NamedTuple):
    """What the documentation says about one code."""

    cause: str
    action: str
    #: What brokerpool itself has done, or left undone, by the time that the error is told.
    response: str


class ErrorCode(Enum):
    """Stable codes; clients and scripts may rely on the names. The value is the catalogue's entry."""

    # -- the pool -----------------------------------------------------------------------------------------
    MAX_CAPACITY_REACHED = Entry(
        "Every allowed connection is full, so the symbol has no place.",
        "Unsubscribe what is no longer needed, or raise MAX_SYMBOLS_PER_WEBSOCKET or"
        " MAX_WEBSOCKET_CONNECTIONS up to the broker's limit.",
        "It left everything that is subscribed as it was. A batch is refused whole; the gateway, which"
        " asks for what fits, carries the rest of it.",
    )
    SYMBOL_NOT_FOUND = Entry(
        "The broker's instrument list has no such exchange and symbol.",
        "Check the spelling (NSE:INFY, NFO:NIFTY24APR25FUT); contracts leave the list when they expire.",
        "It asked the broker for nothing under this name; other symbols of a gateway's request were taken.",
    )
    POOL_CLOSED = Entry(
        "The pool was closed before the call.",
        "Open a new pool; a closed one is not opened again.",
        "It sent nothing of the call, or cut off a read that was on its way; an order on its way ends as"
        " OUTCOME_UNKNOWN.",
    )
    POOL_FORKED = Entry(
        "The pool was used before the process was forked; its sockets and its thread are the parent's.",
        "Make the pool in the child, or make it before the fork and use it only after: with gunicorn in"
        " `post_fork`, with Celery on the signal `worker_process_init`; for multiprocessing take the start"
        ' method "spawn".',
        "It sent nothing and left the parent's connections alone; closing it in the child does nothing.",
    )
    CONNECTION_UNKNOWN = Entry(
        "The pool has no broker connection of this name; names of closed ones are never used again.",
        "Look at the statistics for those that there are.",
        "It changed nothing.",
    )
    CONNECTION_NOT_MOVABLE = Entry(
        "The symbols of a broker connection cannot be moved away now, so nothing was changed.",
        "Wait until every connection is live and nothing else is being moved; when there is no room, release"
        " symbols or allow more connections.",
        "It left every symbol where it is served.",
    )
    NOT_LIVE_IN_TIME = Entry(
        "Some symbols had no first tick within the time that the caller gave.",
        "Look at the connection states in the error: a closed market sends none; a parked connection needs"
        " new credentials.",
        "It goes on: the symbols stay wanted, and are dialled and asked for as before.",
    )
    BROKER_UNREACHABLE = Entry(
        "The broker did not answer, or not as its documentation says.",
        "Check the network and the broker's status page.",
        "A start without the instrument list is given up; a gateway that runs keeps the list that it has."
        " A quote or a candle was asked for again, within the budget for repeats.",
    )
    BROKER_REFUSED_CREDENTIALS = Entry(
        "The broker answered 401 or 403: the access token is wrong or has expired.",
        "Log in to the broker again and give the new access token; no dial is tried with the old one.",
        "It stopped dialling and calling with this token, and goes on by itself, with all that is"
        " wanted, once there is another one.",
    )

    BROKER_REFUSED_CALL = Entry(
        "The broker understood a call and refused it, for what it asked or for a permission that is missing.",
        "Read the broker's words in the message; the same call would be refused again.",
        "It handed on the broker's answer and did not repeat the call.",
    )
    INTERVAL_NOT_SUPPORTED = Entry(
        "The broker has no candles of this length.",
        "Ask for one of the intervals that the message names.",
        "It sent nothing to the broker.",
    )

    # -- HTTP calls to the broker -------------------------------------------------------------------------
    HTTP_QUEUE_FULL = Entry(
        "As many calls wait for a connection as may wait in one lane, so one more was refused at once.",
        "Ask less often, share equal reads or batch them, or raise max_waiting; the text tells who holds the"
        " connections.",
        "It sent nothing, and left those that wait in their places.",
    )
    HTTP_WAIT_TOO_LONG = Entry(
        "A call stood in line for as long as it may without getting a connection; nothing of it was sent.",
        "Look at who holds the connections or which rate limit is used up; raise pool_maxsize or max_wait if"
        " that is normal.",
        "It took the call out of the line and counted nothing against the rate limits.",
    )
    HTTP_TOO_MANY_HOSTS = Entry(
        "A call went to one more host than there are pools, and all of those are in use.",
        "Raise pool_connections to the number of hosts that the broker has.",
        "It sent nothing, and left the connections to the other hosts as they are.",
    )
    RATE_LIMITED = Entry(
        "The broker said that calls come too fast, and the time that it asked for is not over; nothing of the"
        " call was sent.",
        "Call again after the seconds in retry_after, and less often; the rate limits may be set too high.",
        "It holds all calls of the same group back until the broker's time is over, and then begins slowly.",
    )
    BREAKER_OPEN = Entry(
        "The broker failed several times in a short time, so the call was not sent.",
        "Call again after the seconds in retry_after; meanwhile check the broker's status page.",
        "It holds back the group's calls to this host, cancellations excepted, and lets one through now"
        " and then to see whether the broker is back.",
    )
    HOOK_FAILED = Entry(
        "The client's hook `proof`, which makes the headers of the login, raised or gave something else.",
        "Read the log, which names the place where it raised, and mend it; then call again.",
        "It sent nothing of the call.",
    )
    CALL_NOT_SENT = Entry(
        "No connection to the broker came about, so nothing of the call was sent.",
        "Check the network and the address; the call may safely be made again.",
        "It repeated the dial within the budget for repeats; the slot is free again.",
    )
    CALL_FAILED = Entry(
        "The call was sent and no complete answer came, also after the repeats that a read may have.",
        "Check the network and the broker's status page, then call again.",
        "It repeated a read within the budget for repeats, closed the connection, and counted the fault"
        " for the breaker.",
    )
    CALL_TIMED_OUT = Entry(
        "The call was not answered within its time, which spans the waiting in line and all repeats.",
        "Check the broker's status page, or give the call a longer timeout.",
        "It gave the call up, closed its connection, and gave the slot to the next in line.",
    )
    PROXY_REFUSED = Entry(
        "The proxy between this machine and the broker did not let the connection out; the broker has seen"
        " nothing of it.",
        "Check the login and the host in BROKERPOOL_PROXY (or HTTPS_PROXY, where that is not set), and what"
        " the proxy allows; BROKERPOOL_PROXY=direct goes without.",
        "It did not try again: a proxy that is asked with a wrong login may lock it.",
    )
    TLS_NOT_TRUSTED = Entry(
        "The certificate of the broker's host is not valid for it, or from an unknown authority.",
        "Check base_url and the clock; behind a company proxy give an ssl_context that knows its authority.",
        "It closed the connection before anything of the call, or a credential, was sent.",
    )
    ANSWER_TOO_LARGE = Entry(
        "The body of the answer is larger than the client accepts; reading it was given up.",
        "Ask for less at once, or raise max_body_bytes.",
        "It stopped reading and closed the connection.",
    )
    ANSWER_NOT_JSON = Entry(
        "The body of the answer is not JSON.",
        "Look at the status of the answer before its body.",
        "It handed the answer over as it came, and repeated nothing.",
    )
    OUTCOME_UNKNOWN = Entry(
        "A call that changes something, such as an order, was sent and no clear answer came: it may have been"
        " carried out or not.",
        "Do not send it again. Ask the broker for its orders and look for the tag (the error's reconcile"
        " does), then decide.",
        "It did not repeat the call, and closed the connection on which the answer is missing.",
    )

    # -- the database pool --------------------------------------------------------------------------------
    DB_WAIT_TOO_LONG = Entry(
        "All connections to the database were held by others for as long as a caller may wait.",
        "Look at who holds them: the text names the longest with file and line. Return them sooner, or raise"
        " pool_size, max_overflow or pool_timeout if that is normal.",
        "It gave the caller's place in the line to the next one, and sent nothing.",
    )
    DB_QUEUE_FULL = Entry(
        "As many callers wait for a database connection as may wait, so one more was refused at once.",
        "Look at who holds the connections, do with fewer at the same time, or raise max_waiting.",
        "It refused this caller at once and sent nothing; those who wait keep their places.",
    )
    DB_UNREACHABLE = Entry(
        "No usable connection to the database came about: it is down, does not answer or refuses the user.",
        "Check that the database runs and DATABASE_URL is right; the next call tries again by itself.",
        "It closed the connection that was of no use and gave its place to the next caller.",
    )

    # -- the process --------------------------------------------------------------------------------------
    INVALID_SETTINGS = Entry(
        "One or more settings are missing or out of range; the message lists all of them.",
        "Correct the named settings in the environment, the .env file or the TOML file.",
        "It started nothing. A gateway that runs keeps the settings that it has.",
    )
    ADDRESS_IN_USE = Entry(
        "Another program listens on the address already.",
        "Stop it, or set WEBSOCKET_PORT or BROKERPOOL_HTTP_PORT to another port (0 takes any free one).",
        "It ended what it had started and opened no connection to the broker's feed.",
    )

    GATEWAY_UNREACHABLE = Entry(
        "A command asked the running gateway, and no gateway answered at the address.",
        "Start one with `brokerpool serve`, or give its http_url with --url.",
        "The command changed nothing and ended.",
    )

    # -- the database -------------------------------------------------------------------------------------
    DB_BUSY = Entry(
        "Another process held the database locked for longer than one waits for it.",
        "Look for a long transaction or a backup that runs; then try again.",
        "It rolled back; nothing of this change was kept.",
    )
    DB_READ_ONLY = Entry(
        "The database cannot be written: the file, its folder, its disk or the server is read-only.",
        "Make the file and its folder writable for this user, or point DATABASE_URL at a primary server.",
        "It rolled back; what the gateway writes by itself waits in memory, as far as there is room.",
    )
    DB_FULL = Entry(
        "The database has no room left: its disk is full, or a limit on its size is reached.",
        "Make room on the disk; nothing that was acknowledged is lost, and what waits is written then.",
        "It rolled back; what the gateway writes by itself waits in memory, as far as there is room.",
    )
    DB_DISK_FAULT = Entry(
        "The disk refused a read or a write of the database: a quota or a limit on file size is used up, or"
        " it is broken.",
        "Look at the quota, the limits of the process (ulimit -f) and the system's log.",
        "It rolled back; what the gateway writes by itself waits in memory, as far as there is room.",
    )
    DB_DAMAGED = Entry(
        "The file is no database, or parts of it cannot be read.",
        "Check DATABASE_URL; if it is the right file, restore it from a backup.",
        "It changed nothing in the file.",
    )
    DB_MOVED = Entry(
        "The database file was replaced or taken away while it was open; what is written to it is lost.",
        "Nothing, if you restored a backup: the next call opens the file that is there now. Otherwise look"
        " who moves the file.",
        "It refused the statement and closed the connection to the old file.",
    )
    DB_SCHEMA_MISSING = Entry(
        "The database lacks a table or a column: it is another one than before, or an older state of it.",
        "Look where DATABASE_URL leads now, as after a failover or a restored backup; `brokerpool db check`"
        " tells its revision, and `brokerpool db upgrade` makes what is missing.",
        "It rolled back; what the gateway writes by itself waits in memory, as far as there is room.",
    )
    DB_FORBIDDEN = Entry(
        "The database's user may not do this.",
        "Grant the user of DATABASE_URL the rights to read and write the tables named brokerpool_...",
        "It rolled back; what the gateway writes by itself waits in memory, as far as there is room.",
    )
    DB_POOLER_REFUSES = Entry(
        "The database's connection pooler (PgBouncer and its like) takes no session settings from a client.",
        "Take `options` and other session settings out of the URL and keep them on the server:"
        " ALTER ROLE ... SET or ALTER DATABASE ... SET.",
        "It made no connection and gave its place to the next caller.",
    )
    DB_SCHEMA_NEWER = Entry(
        "A newer version of brokerpool has upgraded the database; nothing in it was touched.",
        "Run that version or a newer one, or restore the backup from before the upgrade.",
        "It touched nothing and did not open the store.",
    )
    DB_FAILED = Entry(
        "The database refused a statement for a reason that has no code of its own.",
        "Run `brokerpool db check`; if it finds nothing, report the text.",
        "It rolled back; nothing of this change was kept.",
    )
    SECRET_KEY_MISSING = Entry(
        "Broker credentials are kept encrypted, and BROKERPOOL_SECRET_KEY does not say with which key.",
        "Make one with `openssl rand -base64 32 | tr +/ -_` and keep it apart from the backups.",
        "It stored and read no credentials.",
    )
    SECRET_KEY_WRONG = Entry(
        "BROKERPOOL_SECRET_KEY does not hold the key with which the credentials were encrypted.",
        "Add the former key after a comma, or log in again with `brokerpool login`.",
        "It left what is stored as it was, and used none of it.",
    )
    CREDENTIALS_DAMAGED = Entry(
        "The stored credentials were changed after they were written, and are not used.",
        "Log in again with `brokerpool login`, and find out who else writes to the database.",
        "It did not use them; the login in use, if there is one, stays.",
    )
    NO_CREDENTIALS = Entry(
        "No login of the broker is stored.",
        "Store one with `brokerpool login`.",
        "It dialled nothing with what it does not have.",
    )
    KEY_NAME_TAKEN = Entry(
        "A valid API key has that name already.",
        "Choose another name, or revoke that key first.",
        "It made no key.",
    )
    KEY_NOT_FOUND = Entry(
        "No valid API key has that name.",
        "Look at `brokerpool keys list`.",
        "It changed nothing.",
    )
    TOO_MANY_KEYS = Entry(
        "As many API keys are valid as may be at the same time.",
        "Revoke those that nobody uses.",
        "It made no key.",
    )

    # -- the gateway's clients ----------------------------------------------------------------------------
    NOT_ANSWERED_IN_TIME = Entry(
        "What carries the broker's connections did not say in time whether it takes the symbol.",
        "Subscribe again in a while; when it goes on, connect again, and look at /health.",
        "It gave the symbol up, and will release it should it be granted after all; until that answer it asks"
        " for nothing more in the name of this client. What the client holds stays.",
    )
    INVALID_JSON = Entry(
        "The frame is not a JSON object.",
        "Send one JSON object per frame.",
        "It changed nothing; the connection stays open.",
    )
    INVALID_ACTION = Entry(
        "The action is missing or not one that this gateway knows.",
        "Use authenticate, subscribe, unsubscribe, unsubscribe_all, list_subscriptions, subscribe_orders,"
        " unsubscribe_orders, get_broker_info, get_supported_brokers or ping.",
        "It changed nothing; the connection stays open.",
    )
    INVALID_MODE = Entry(
        "The mode is none of 1, 2, 3, LTP, Quote, Depth.",
        "Send one of these.",
        "It changed nothing; the connection stays open.",
    )
    INVALID_PARAMETERS = Entry(
        "A field is missing or has the wrong type.",
        "Compare the request with the protocol page.",
        "It left out the entries at fault, or the whole request where that cannot be read.",
    )
    AUTHENTICATION_ERROR = Entry(
        "The API key is missing, wrong or revoked.",
        "Send the key in BROKERPOOL_API_KEY, or one of `brokerpool keys create`.",
        "It answered nothing else. A WebSocket stays open until the time for authentication is over, so"
        " that the right key can follow.",
    )
    ADDRESS_LOCKED_OUT = Entry(
        "Too many wrong API keys came from one address; for a while its wrong keys are refused at once.",
        "Find the program that sends a wrong key. Right keys are accepted meanwhile, from that address too.",
        "It noted the address in the journal, and closes each WebSocket that sends a wrong key from there.",
    )
    KEYS_NOT_READ = Entry(
        "The database has not been open since the gateway's start, so no stored API key is known.",
        "Try again after the seconds in retry_after; an operator mends the database: `brokerpool db check`.",
        "It neither let the client in nor counted its key as a wrong one; BROKERPOOL_API_KEY is valid.",
    )
    SCOPE_MISSING = Entry(
        "The API key is valid and does not allow this.",
        "Use a key with the scope in the message: `brokerpool keys create NAME --scope SCOPE` makes one.",
        "It answered nothing else, and did not count it as a wrong key.",
    )
    KEY_CLIENT_LIMIT = Entry(
        "As many clients are connected with one API key as may be.",
        "End some of them, use a key for each program, or raise BROKERPOOL_MAX_CLIENTS_PER_KEY.",
        "It did not let the client in; the others stay connected.",
    )
    KEY_SYMBOL_LIMIT = Entry(
        "All clients with one API key together hold as many symbols as they may.",
        "Unsubscribe some, use a key for each program, or raise BROKERPOOL_MAX_SYMBOLS_PER_KEY.",
        "It carries the symbols that still fitted, and all that were held before.",
    )
    KEY_RATE_LIMIT = Entry(
        "More requests came with one API key than BROKERPOOL_KEY_RATE_LIMIT allows.",
        "Send it again after the seconds in retry_after, or raise BROKERPOOL_KEY_RATE_LIMIT.",
        "It asked the broker nothing for this request.",
    )
    HOST_NOT_ALLOWED = Entry(
        "The request was sent to a host name that is not known to be the gateway's; a web page may have been"
        " tricked into it.",
        "Call the gateway by its address, or name it in BROKERPOOL_ALLOWED_HOSTS.",
        "It looked at nothing else of the request.",
    )
    ORIGIN_NOT_ALLOWED = Entry(
        "A web page of another host sent the request.",
        "If the page is yours, name its origin in BROKERPOOL_ALLOWED_ORIGINS, as in https://my.example.",
        "It looked at nothing else of the request.",
    )
    NO_API_KEY = Entry(
        "The gateway knows no API key, so no client could authenticate.",
        "Make one with `brokerpool keys create NAME`, or set BROKERPOOL_API_KEY.",
        "It did not start.",
    )
    NOT_AUTHENTICATED = Entry(
        "The action needs authentication first.",
        "Send authenticate with the API key, then repeat.",
        "It changed nothing; the connection stays open until the time for authentication is over.",
    )
    ORDERS_NOT_CARRIED = Entry(
        "The client asked for order updates, and this gateway carries market data only.",
        "Take order updates from the broker or from OpenAlgo's own server.",
        "It changed nothing; market data goes on.",
    )
    API_RATE_LIMIT_REACHED = Entry(
        "One address sent more REST requests than API_RATE_LIMIT allows; the present one is not answered.",
        "Send it again after the seconds in retry_after, use the WebSocket for what is asked often, or raise"
        " API_RATE_LIMIT.",
        "It asked the broker nothing, and goes on answering other addresses.",
    )
    LOCAL_HISTORY_NOT_KEPT = Entry(
        'Candles were asked for with the source "db", and the gateway keeps none of its own.',
        'Leave the source out, or send "api": the broker is asked then.',
        "It asked the broker nothing.",
    )
    REQUEST_TOO_LARGE = Entry(
        "A request is larger than the gateway accepts: the body of a REST request, or the number of symbols"
        " in one on the WebSocket.",
        "Send several smaller requests; the message says how much one may have.",
        "It stopped reading the request and did nothing of it. A WebSocket stays open.",
    )
    GATEWAY_BUSY = Entry(
        "As many REST requests are being answered at the same time as BROKERPOOL_MAX_CLIENTS allows.",
        "Ask again after `retry_after` seconds; raise BROKERPOOL_MAX_CLIENTS if your programs need more.",
        "It refused this request with HTTP 503. Signs of life (/health) are answered all the same.",
    )
    TOO_MANY_DASHBOARDS = Entry(
        "As many dashboards are open as one gateway serves.",
        "Close one of them; a browser tab that was closed is noticed at once.",
        "It refused this one; the others go on.",
    )
    UNKNOWN_ENDPOINT = Entry(
        "The gateway has no such path, or not for this HTTP method.",
        "Look at /docs for those that there are.",
        "It did nothing.",
    )
    GATEWAY_FAULT = Entry(
        "The gateway itself failed to answer a REST request.",
        "Report it with the gateway's log, which has the details.",
        "It wrote the details to its log, and goes on answering other requests.",
    )
    CLIENT_SYMBOL_LIMIT = Entry(
        "The client holds as many symbols as one client may.",
        "Unsubscribe some, spread them over several clients, or raise BROKERPOOL_MAX_SYMBOLS_PER_CLIENT.",
        "It carried as many of the request's symbols as the client may still hold, in their order.",
    )

    @property
    def cause(self) -> str:
        return self.value.cause

    @property
    def action(self) -> str:
        return self.value.action

    @property
    def response(self) -> str:
        return self.value.response


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


class PoolForkedError(BrokerpoolError):
    """The pool belongs to the process from which this one was forked."""

    code = ErrorCode.POOL_FORKED


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
    `reconcile` asks the broker what became of the tag, where the client was given such a hook.
    """

    code = ErrorCode.OUTCOME_UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        tag: str | None,
        status: int | None = None,
        reconcile: Callable[[], Coroutine[Any, Any, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.tag = tag
        self.status = status
        self._reconcile = reconcile

    @property
    def reconcilable(self) -> bool:
        """True when `reconcile` can ask: the call had an `order_tag`, and the client a hook for it."""
        return self._reconcile is not None

    async def reconcile(self) -> Any:  # noqa: ANN401  (it is what the hook returns)
        """Return what the client's `reconcile` hook says of the tag.

        Raises ValueError without a hook or a tag, OutcomeUnknown when the hook failed, and what calls raise.
        """
        if self._reconcile is None:
            raise ValueError(
                f"the call had the tag {self.tag!r}, and the client no reconcile hook: give BrokerClient"
                " reconcile=..., a coroutine function of the tag, or look the tag up at the broker yourself"
                if self.tag is not None
                else "the call had no tag by which a reconcile hook could ask for it: give orders"
                " an order_tag, and compare the broker's order book with what you sent"
            )
        return await self._reconcile()


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
