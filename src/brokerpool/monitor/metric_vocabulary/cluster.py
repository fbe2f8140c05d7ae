"""What `/stats` says of a cluster: the bus as this process sees it, the nodes, and who holds what."""

from __future__ import annotations

from brokerpool.monitor.stats import Field, Kind

GAUGE, COUNTER, TEXT = Kind.GAUGE, Kind.COUNTER, Kind.TEXT

CLUSTER = (
    Field("name", TEXT, "", "What this process is called in the cluster.", "info"),
    Field(
        "role",
        TEXT,
        "",
        "What it does there: feed or gateway.",
        "role",
        words=("feed", "gateway"),
    ),
    Field("gateways", GAUGE, "gateways", "Gateways that have given a sign of life lately.", "gateways"),
    Field("bus.connected", GAUGE, "true or false", "Whether a NATS server is connected.", "bus_connected"),
    Field(
        "bus.round_trip_seconds",
        GAUGE,
        "seconds",
        "The last way to the NATS server and back, behind all that waited; null without a server.",
        "bus_round_trip_seconds",
    ),
    Field("bus.published", COUNTER, "messages", "Messages that left.", "bus_published_total"),
    Field("bus.published_bytes", COUNTER, "bytes", "Their bytes.", "bus_published_bytes_total"),
    Field("bus.received", COUNTER, "messages", "Messages that came.", "bus_received_total"),
    Field("bus.received_bytes", COUNTER, "bytes", "Their bytes.", "bus_received_bytes_total"),
    Field(
        "bus.lost",
        COUNTER,
        "messages",
        "Messages that were dropped because no server was connected, or took them too slowly.",
        "bus_lost_total",
    ),
    Field(
        "bus.overrun",
        COUNTER,
        "messages",
        "Messages that came faster than this process took them, and were dropped.",
        "bus_overrun_total",
    ),
    Field(
        "bus.reconnects",
        COUNTER,
        "connects",
        "How often a NATS server was found again.",
        "bus_reconnects_total",
    ),
)

NODES = (
    Field("name", TEXT, "", "A feed node that has given a sign of life lately."),
    Field("accounts", GAUGE, "accounts", "Accounts that it holds.", "node_accounts"),
)

LEASES = (
    Field("name", TEXT, "", "An account that some node can hold."),
    Field("node", TEXT, "", "The node that holds it, empty while none does."),
    Field("held", GAUGE, "true or false", "Whether a node holds it.", "account_held"),
    Field("epoch", GAUGE, "epochs", "Rises each time that a node takes it.", "account_epoch"),
    Field(
        "renewal_age_seconds",
        GAUGE,
        "seconds",
        "Since the last renewal of its lease came here, null before the first.",
        "account_renewal_age_seconds",
    ),
    Field(
        "shards.heard",
        GAUGE,
        "shards",
        "Shards of its ticks to which a gateway listens: those in which symbols are wanted.",
        "shards_heard",
    ),
    Field(
        "shards.dark",
        GAUGE,
        "shards",
        "Those of them that are silent or not whole, and whose symbols are stale until they are.",
        "shards_dark",
    ),
    Field(
        "shards.missing",
        COUNTER,
        "messages",
        "Messages that were missed, each told as a gap.",
        "shards_missing_total",
    ),
    Field(
        "shards.doubled",
        COUNTER,
        "messages",
        "Messages that came twice or too late, and were dropped.",
        "shards_doubled_total",
    ),
    Field(
        "shards.silent_seconds",
        GAUGE,
        "seconds",
        "The longest time without any message on one of them; a sign of life comes every half second.",
        "shards_silent_seconds",
    ),
    Field(
        "shards.lag_seconds",
        GAUGE,
        "seconds",
        "From the tick's receipt at the feed node to the gateway, of the slowest shard; by both machines'"
        " wall clocks, and null before the first tick.",
        "shards_lag_seconds",
    ),
)
