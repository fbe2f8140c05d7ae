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
        "Symbols that it carries, those that are at home elsewhere included.",
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
)
