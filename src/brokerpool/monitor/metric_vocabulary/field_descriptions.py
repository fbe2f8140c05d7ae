"""Every field of `/stats`, from which come its reference page, `/metrics`, and the test of both."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from brokerpool.feed.lifecycle_states import ConnectionState
from brokerpool.monitor.health_timing import Status
from brokerpool.monitor.metric_vocabulary.accounts import ACCOUNTS
from brokerpool.monitor.metric_vocabulary.broker import BROKER
from brokerpool.monitor.metric_vocabulary.cluster import CLUSTER, LEASES, NODES
from brokerpool.monitor.metric_vocabulary.database import DATABASE
from brokerpool.monitor.metric_vocabulary.gateway import GATEWAY
from brokerpool.monitor.metric_vocabulary.orders import ORDERS
from brokerpool.monitor.stats import Field, Kind, Vocabulary

GAUGE, COUNTER, HISTOGRAM, TEXT = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM, Kind.TEXT

_WEBSOCKET = (
    Field(
        "connections", GAUGE, "connections", "Connections that exist, whatever their state.", "connections"
    ),
    Field("total_symbols", GAUGE, "symbols", "Symbols that have a place.", "symbols"),
    Field("capacity_used", GAUGE, "ratio", "Share of all places that are taken.", "capacity_used_ratio"),
    Field("max_connections", GAUGE, "connections", "The limit in force.", "connections_max"),
    Field(
        "allowed_connections",
        GAUGE,
        "connections",
        "The limit less what evictions took away for now.",
        "connections_allowed",
    ),
    Field(
        "max_symbols_per_connection",
        GAUGE,
        "symbols",
        "The limit in force for one connection.",
        "connection_symbols_max",
    ),
    Field(
        "symbols_down",
        GAUGE,
        "symbols",
        "Symbols whose connection was lost or refused and that no other one carries.",
        "symbols_down",
    ),
    Field(
        "symbols_degraded",
        GAUGE,
        "symbols",
        "Those of them that wait for room on another connection.",
        "symbols_degraded",
    ),
    Field(
        "symbols_mute",
        GAUGE,
        "symbols",
        "Symbols that are silent for twice as long as they ever are, while their market is open.",
        "symbols_mute",
    ),
    Field("gaps_open", GAUGE, "gaps", "Holes in the data that are open now.", "gaps_open"),
    Field("gaps_total", COUNTER, "gaps", "Holes in the data since the start.", "gaps_total"),
    Field(
        "faults{source}",
        COUNTER,
        "faults",
        "Faults of listeners, the adapter, the login's provider and the pool's own tasks, by name.",
        "faults_total",
    ),
)

_PER_CONNECTION = (
    Field("name", TEXT, "", "The connection's name, which is never used again."),
    Field("account", TEXT, "", "The account whose connection it is."),
    Field(
        "state",
        TEXT,
        "",
        "How it stands: live, dialling, waiting, stale, parked, idle or closed.",
        "connection_state",
        words=tuple(state.value for state in ConnectionState),
    ),
    Field("symbols", GAUGE, "symbols", "Symbols that it should carry.", "connection_symbols"),
    Field(
        "hosted",
        GAUGE,
        "symbols",
        "Symbols that it carries while their own connection is out, or before that is emptied.",
        "connection_hosted",
    ),
    Field(
        "sent",
        GAUGE,
        "symbols",
        "Symbols that the broker has been asked for on the present socket.",
        "connection_symbols_sent",
    ),
    Field("dials", COUNTER, "dials", "Dials since the connection was made.", "dials_total"),
    Field("refusals", COUNTER, "refusals", "Dials and requests that the broker refused.", "refusals_total"),
    Field(
        "control_messages",
        COUNTER,
        "messages",
        "Subscribe, mode and unsubscribe messages that left.",
        "control_messages_total",
    ),
    Field("ticks", COUNTER, "ticks", "Ticks that came in.", "ticks_total"),
    Field("heartbeats", COUNTER, "frames", "Frames without ticks.", "heartbeats_total"),
    Field(
        "last_tick_age_seconds",
        GAUGE,
        "seconds",
        "Time since the last tick, null before the first.",
        "last_tick_age_seconds",
    ),
    Field(
        "skipped_packets{reason}",
        COUNTER,
        "packets",
        "Packets of the present socket that were left out; begins anew with the next socket.",
        "skipped_packets_total",
    ),
    Field("last_fault", TEXT, "", "Why the last socket ended or was refused."),
)

_HTTP = (
    Field("name", TEXT, "", "The client's name, which is the broker's."),
    Field("pool_size", GAUGE, "connections", "Connections that one host may have.", "pool_size"),
    Field(
        "active_connections",
        GAUGE,
        "connections",
        "Slots that calls hold now.",
        "active_connections",
    ),
    Field(
        "hosts{host}.active",
        GAUGE,
        "connections",
        "Slots of the host that calls hold now.",
        "host_active_connections",
        otel="http.client.open_connections (http.connection.state=active)",
    ),
    Field(
        "hosts{host}.idle",
        GAUGE,
        "connections",
        "Slots of the host that are free, whether or not their connection is open.",
        "host_idle_connections",
        otel="http.client.open_connections (http.connection.state=idle)",
    ),
    Field("queued{lane}", GAUGE, "calls", "Calls that wait in the queue.", "queued_calls"),
    Field(
        "oldest_wait_seconds",
        GAUGE,
        "seconds",
        "How long the first in the queue has waited, 0 when nobody waits.",
        "oldest_wait_seconds",
    ),
    Field("holders[].call", TEXT, "", "What is being called, without its parameters."),
    Field("holders[].task", TEXT, "", "Who calls: the name of the task."),
    Field("holders[].seconds", GAUGE, "seconds", "For how long the connection has been held."),
    Field("requests", COUNTER, "calls", "Calls that were made, repeats not counted.", "requests_total"),
    Field("created", COUNTER, "calls", "Connections that were dialled.", "connections_created_total"),
    Field("reused", COUNTER, "calls", "Calls over a connection that was kept.", "connections_reused_total"),
    Field(
        "reuse_ratio",
        GAUGE,
        "ratio",
        "Share of calls over a kept connection, null before the first call.",
        "reuse_ratio",
    ),
    Field(
        "refused{code}",
        COUNTER,
        "calls",
        "Calls that were not let out, by error code.",
        "refused_calls_total",
    ),
    Field("retries{reason}", COUNTER, "repeats", "Repeats, by what went wrong before.", "retries_total"),
    Field(
        "retries_denied",
        COUNTER,
        "repeats",
        "Repeats that did not happen because their budget was spent.",
        "retries_denied_total",
    ),
    Field(
        "rate_limited",
        COUNTER,
        "answers",
        "Answers with which the broker said that calls come too fast.",
        "rate_limited_total",
    ),
    Field(
        "outcomes_unknown",
        COUNTER,
        "orders",
        "Orders that were sent and got no clear answer.",
        "outcomes_unknown_total",
    ),
    Field("wait_seconds", HISTOGRAM, "seconds", "Time that calls waited in the queue.", "wait_seconds"),
    Field(
        "connect_seconds",
        HISTOGRAM,
        "seconds",
        "Time that it took to open a connection.",
        "connect_seconds",
    ),
    Field(
        "call_seconds",
        HISTOGRAM,
        "seconds",
        "Time that calls took, with waiting and repeats.",
        "call_seconds",
        otel="http.client.request.duration (of one attempt there)",
    ),
    Field(
        "breakers{host group}",
        TEXT,
        "",
        "Whether calls of the group are let out: closed, open or half-open.",
        "breaker_state",
        words=("closed", "open", "half-open"),
    ),
    Field(
        "tokens_left{group}{window}",
        GAUGE,
        "calls",
        "Calls that the rate limit still allows in the window.",
        "rate_limit_left",
    ),
    Field(
        "coalesced",
        COUNTER,
        "calls",
        "Calls that were spared, because an equal or a larger one answered for them.",
        "coalesced_calls_total",
    ),
    Field(
        "faults{source}",
        COUNTER,
        "faults",
        "Faults of the client's hooks and of the login's provider, by name.",
        "faults_total",
    ),
)

_ACCESS = (
    Field("keys_used", GAUGE, "keys", "API keys that were used since the start and are valid.", "keys_used"),
    Field("wrong_keys", COUNTER, "keys", "Wrong API keys since the start.", "wrong_keys_total"),
    Field(
        "addresses_locked_out",
        GAUGE,
        "addresses",
        "Addresses whose wrong keys are refused at once now.",
        "addresses_locked_out",
    ),
    Field(
        "certificate_ends_at",
        GAUGE,
        "seconds",
        "When the certificate of both listeners ends, in seconds since 1970; null where there is no TLS.",
        "certificate_ends_timestamp_seconds",
    ),
)

_HEALTH = (
    Field(
        "status",
        TEXT,
        "",
        "The whole in one word, as /health says it.",
        "status",
        words=tuple(status.value for status in Status),
    ),
    Field("ready", GAUGE, "true or false", "Whether /health/ready answers 200.", "ready"),
    Field(
        "reasons{reason}",
        GAUGE,
        "true or false",
        "What speaks against it, by the reason's code: true while it holds, else false.",
        "reason",
    ),
)

_JOURNAL = (
    Field("events{event}", COUNTER, "entries", "Entries of the journal since the start.", "events_total"),
)

_PROCESS = (
    Field("version", TEXT, "", "The version of brokerpool.", "info"),
    Field("uptime_seconds", GAUGE, "seconds", "Time since the gateway was made.", "uptime_seconds"),
    Field(
        "rss_bytes",
        GAUGE,
        "bytes",
        "Memory that the process holds, null where the system does not tell.",
        "resident_memory_bytes",
        otel="process.memory.usage",
    ),
    Field(
        "open_fds",
        GAUGE,
        "descriptors",
        "Files and sockets that are open, null where the system does not tell.",
        "open_fds",
        otel="process.unix.file_descriptor.count",
    ),
    Field(
        "loop_lag_max_seconds",
        GAUGE,
        "seconds",
        "The longest time within the last minute for which the event loop came too late.",
        "loop_lag_max_seconds",
    ),
    Field(
        "loop_lag_seconds",
        HISTOGRAM,
        "seconds",
        "How late the event loop came, looked at ten times a second.",
        "loop_lag_seconds",
    ),
)


def _placed(section: str, fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Give the fields of a section their whole paths and the whole names of their metrics."""
    prefix = f"brokerpool_{section.partition('.')[0]}_"
    whole = {f: prefix + f.metric if f.metric else "" for f in fields}
    return tuple(replace(f, path=f"{section}.{f.path}", metric=metric) for f, metric in whole.items())


def _of_each(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Return the fields that are told again for each account, where there are several."""
    return tuple(
        replace(f, metric=f"account_{f.metric}" if f.metric else "", otel="")
        for f in fields
        if f.path != "name"
    )


#: Of several accounts; for one alone there is nothing besides what stands in the sections themselves.
_NAME = Field("name", Kind.TEXT, "", "The account's name in the settings.")
_HTTP_OF_EACH = (_NAME, *_of_each(_HTTP))
_LISTS_OF_EACH = (_NAME, *_of_each(tuple(f for f in BROKER if f.path.startswith("instruments"))))


class Section(NamedTuple):
    """One part of `/stats`."""

    title: str
    fields: tuple[Field, ...]


#: The sections by the path that all of their fields begin with.
SECTIONS = {
    path: Section(title, _placed(path, fields))
    for path, title, fields in (
        ("websocket", "The WebSocket pool", _WEBSOCKET),
        ("websocket.accounts[account]", "Each of its accounts", ACCOUNTS),
        ("websocket.per_connection[connection account]", "Each of its connections", _PER_CONNECTION),
        ("deep_book", "The pool of the deeper order book, where there is one", _WEBSOCKET),
        ("deep_book.accounts[account]", "Each of the accounts that have it", ACCOUNTS),
        ("deep_book.per_connection[connection account]", "Each of its connections", _PER_CONNECTION),
        ("http", "The HTTP pool", _HTTP),
        ("http.accounts[account]", "The HTTP pool of each of several accounts", _HTTP_OF_EACH),
        ("gateway", "The gateway's clients", GATEWAY),
        ("orders", "Orders", ORDERS),
        ("access", "Access to the gateway", _ACCESS),
        ("database", "The database and its pool", DATABASE),
        ("broker", "The account at the broker", BROKER),
        ("broker.accounts[account]", "The instrument list of each of several accounts", _LISTS_OF_EACH),
        ("cluster", "The cluster, where there is one", CLUSTER),
        ("cluster.nodes[node]", "Each of its feed nodes", NODES),
        ("cluster.accounts[account]", "Each of its accounts", LEASES),
        ("health", "Health", _HEALTH),
        ("journal", "The journal", _JOURNAL),
        ("process", "The process", _PROCESS),
    )
}

VOCABULARY = Vocabulary(field for section in SECTIONS.values() for field in section.fields)
