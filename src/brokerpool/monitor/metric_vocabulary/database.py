"""What `/stats` tells of the database and its pool; a part of the vocabulary."""

from __future__ import annotations

from brokerpool.monitor.stats import Field, Kind

GAUGE, COUNTER, HISTOGRAM, TEXT = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM, Kind.TEXT

DATABASE = (
    Field("available", GAUGE, "yes or no", "Whether the database could be opened.", "available"),
    Field("fault", TEXT, "", "The error code for which it is not open, not read or not written; else empty."),
    Field("pool_size", GAUGE, "connections", "Connections that are kept.", "pool_size"),
    Field("checked_out", GAUGE, "connections", "Connections that somebody holds now.", "checked_out"),
    Field("overflow", GAUGE, "connections", "Connections beyond those that are kept.", "overflow"),
    Field("checked_in", GAUGE, "connections", "Open connections that nobody holds.", "checked_in"),
    Field("max_overflow", GAUGE, "connections", "How many may be opened beyond.", "overflow_max"),
    Field("pool_timeout", GAUGE, "seconds", "How long a caller may wait.", "pool_timeout_seconds"),
    Field("name", TEXT, "", "The pool's name in errors and in the log."),
    Field("dialect", TEXT, "", "Which database it is: sqlite or postgresql."),
    Field("open", GAUGE, "connections", "Connections that are open, held or not.", "open"),
    Field("waiting", GAUGE, "callers", "Callers that wait in the queue.", "waiting"),
    Field("max_waiting", GAUGE, "callers", "How many may wait.", "waiting_max"),
    Field(
        "oldest_wait_seconds",
        GAUGE,
        "seconds",
        "How long the first in the queue has waited, 0 when nobody waits.",
        "oldest_wait_seconds",
    ),
    Field("holders[].task", TEXT, "", "Who holds a connection: the name of the task."),
    Field("holders[].site", TEXT, "", "Where it was borrowed: file and line."),
    Field("holders[].writer", GAUGE, "yes or no", "Whether it is the one writer that SQLite can have."),
    Field("holders[].seconds", GAUGE, "seconds", "For how long it has been held."),
    Field(
        "read_only",
        GAUGE,
        "yes or no",
        "Whether the newest connection leads to a database that takes no writes.",
        "read_only",
    ),
    Field(
        "evictions",
        COUNTER,
        "times",
        "Connections were given up because their database was read-only, broken or moved.",
        "evictions_total",
    ),
    Field("checkouts", COUNTER, "checkouts", "Connections that were lent.", "checkouts_total"),
    Field("waits", COUNTER, "checkouts", "Callers that had to wait for theirs.", "waits_total"),
    Field("timeouts", COUNTER, "callers", "Callers that waited in vain.", "timeouts_total"),
    Field("refused{code}", COUNTER, "callers", "Callers that got none, by error code.", "refused_total"),
    Field("connects", COUNTER, "connections", "Connections that were opened.", "connects_total"),
    Field("closes", COUNTER, "connections", "Connections that were closed.", "closes_total"),
    Field("ping_failures", COUNTER, "connections", "Kept ones found dead before use.", "ping_failures_total"),
    Field(
        "invalidations", COUNTER, "connections", "Connections given up after a fault.", "invalidations_total"
    ),
    Field("long_holds", COUNTER, "checkouts", "Connections that were held for too long.", "long_holds_total"),
    Field("leaks", COUNTER, "checkouts", "Connections that were not returned.", "leaks_total"),
    Field("wait_seconds", HISTOGRAM, "seconds", "Time that callers waited in the queue.", "wait_seconds"),
    Field("hold_seconds", HISTOGRAM, "seconds", "Time that connections were held.", "hold_seconds"),
    Field("connect_seconds", HISTOGRAM, "seconds", "Time that it took to open one.", "connect_seconds"),
    Field("keys", GAUGE, "keys", "API keys that are valid.", "keys"),
    Field("away", GAUGE, "yes or no", "Whether the last look at it, or the last write, failed.", "away"),
    Field("writer.queued", GAUGE, "entries", "Entries that wait to be written.", "writer_queued"),
    Field("writer.written", COUNTER, "entries", "Entries that were written.", "writer_written_total"),
    Field(
        "writer.dropped{kind}", COUNTER, "entries", "Entries lost for want of room.", "writer_dropped_total"
    ),
    Field("writer.failures", COUNTER, "batches", "Batches that were not taken.", "writer_failures_total"),
    Field("writer.last_fault", TEXT, "", "The error code of the last of these."),
)
