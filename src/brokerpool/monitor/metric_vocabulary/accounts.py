"""What `/stats` tells of each account at a broker, as many as there are; a part of the vocabulary."""

from __future__ import annotations

from brokerpool.monitor.stats import Field, Kind

GAUGE, TEXT = Kind.GAUGE, Kind.TEXT

ACCOUNTS = (
    Field("name", TEXT, "", "The account's name in the settings; where there is one only, its broker's."),
    Field("broker", TEXT, "", "Its broker, as clients see it."),
    Field(
        "connected",
        GAUGE,
        "true or false",
        "Whether at least one of its connections is live.",
        "account_connected",
    ),
    Field(
        "login_refused",
        GAUGE,
        "true or false",
        "Whether the broker has refused its present access token.",
        "account_login_refused",
    ),
    Field(
        "symbols",
        GAUGE,
        "symbols",
        "Symbols that it is to carry now: those at home there and not away, and guests.",
        "account_symbols",
    ),
    Field(
        "symbols_home",
        GAUGE,
        "symbols",
        "Symbols that are at home there, whoever carries them now.",
        "account_symbols_home",
    ),
    Field(
        "symbols_away",
        GAUGE,
        "symbols",
        "Those of them that another account carries while it is out or only just back.",
        "account_symbols_away",
    ),
    Field(
        "capacity",
        GAUGE,
        "symbols",
        "Symbols that it can carry with all of its connections open.",
        "account_capacity",
    ),
    Field(
        "symbols_down",
        GAUGE,
        "symbols",
        "Symbols at home there whose connection was lost or refused and that nothing else carries.",
        "account_symbols_down",
    ),
    Field("max_connections", GAUGE, "connections", "How many it may have.", "account_connections_max"),
    Field(
        "max_symbols_per_connection",
        GAUGE,
        "symbols",
        "How many each of them takes.",
        "account_connection_symbols_max",
    ),
    Field(
        "exchanges",
        TEXT,
        "",
        "The exchanges that it serves, with commas between; empty for all that its broker lists.",
    ),
)
