"""What `/stats` tells of the account at the broker: list and login; a part of the vocabulary."""

from __future__ import annotations

from brokerpool.monitor.stats import Field, Kind

GAUGE, COUNTER, TEXT = Kind.GAUGE, Kind.COUNTER, Kind.TEXT

BROKER = (
    Field("instruments", GAUGE, "instruments", "Instruments that the broker lists.", "instruments"),
    Field(
        "instruments_by_exchange{exchange}",
        GAUGE,
        "instruments",
        "Those of each exchange.",
        "instruments_by_exchange",
    ),
    Field(
        "instruments_read_at",
        GAUGE,
        "seconds",
        "When the list in use was read, in seconds since 1970.",
        "instruments_read_timestamp_seconds",
    ),
    Field(
        "instruments_age_seconds",
        GAUGE,
        "seconds",
        "Time since the list in use was read.",
        "instruments_age_seconds",
    ),
    Field(
        "instruments_reads{outcome}",
        COUNTER,
        "lists",
        "Lists that were asked for since the start: taken, refused because they had lost too much, failed.",
        "instruments_reads_total",
    ),
    Field(
        "instruments_unlisted",
        GAUGE,
        "instruments",
        "Instruments that are wanted and not in the list in use.",
        "instruments_unlisted",
    ),
    Field(
        "instruments_fault",
        TEXT,
        "",
        "Why the list that was asked for last is not in use; empty when it is.",
    ),
    Field(
        "login_refused",
        GAUGE,
        "true or false",
        "Whether the broker has refused the present access token; of several accounts, that of any.",
        "login_refused",
    ),
    Field(
        "login_version",
        GAUGE,
        "versions",
        "Counts the access tokens since the start, the first is 1.",
        "login_version",
    ),
    Field(
        "login_failures",
        GAUGE,
        "questions",
        "Questions in a row to the credentials provider that did not help.",
        "login_failures",
    ),
    Field(
        "login_rest_seconds",
        GAUGE,
        "seconds",
        "For how long the credentials provider is not asked again, 0 when it may be.",
        "login_rest_seconds",
    ),
    Field(
        "login_expires_at",
        GAUGE,
        "seconds",
        "When the present access token ends, in seconds since 1970; null where that is not known beforehand.",
        "login_expires_timestamp_seconds",
    ),
)
