"""What `/stats` says of the gateway's clients."""

from __future__ import annotations

from brokerpool.monitor.stats import Field, Kind

TEXT, GAUGE, COUNTER = Kind.TEXT, Kind.GAUGE, Kind.COUNTER

GATEWAY = (
    Field("clients", GAUGE, "clients", "Authenticated clients that are connected.", "clients"),
    Field("slow_clients", GAUGE, "clients", "Those that cannot keep up now.", "slow_clients"),
    Field("symbols", GAUGE, "symbols", "Symbols that any client holds.", "symbols"),
    Field("audiences", GAUGE, "groups", "Groups of clients with the same symbols.", "audiences"),
    Field("frames_delivered", COUNTER, "frames", "Frames that went to clients.", "frames_delivered_total"),
    Field(
        "frames_conflated",
        COUNTER,
        "frames",
        "Frames that gave way to newer ones for slow clients.",
        "frames_conflated_total",
    ),
    *(
        Field(f"slowest_clients[].{name}", kind, unit, meaning)
        for name, kind, unit, meaning in (
            (
                "client",
                GAUGE,
                "a name",
                "Of one that keeps up worst: its number, 7 for client-7.",
            ),
            ("key", TEXT, "", "The name of the key that it has shown."),
            ("address", TEXT, "", "Where it connects from."),
            ("user_agent", TEXT, "", "What it calls itself."),
            ("since_ms", GAUGE, "milliseconds", "When it authenticated, since the epoch."),
            ("subscriptions", GAUGE, "subscriptions", "What it holds: symbols times modes."),
            ("behind_seconds", GAUGE, "seconds", "For how long it has not read; 0 while it keeps up."),
            ("delivered", COUNTER, "frames", "Frames that went to it."),
            ("conflated", COUNTER, "frames", "Frames that gave way to newer ones for it."),
        )
    ),
)
