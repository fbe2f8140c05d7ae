"""What `/stats` says of orders: calls that were passed through, and updates that clients got."""

from __future__ import annotations

from brokerpool.monitor.stats import Field, Kind

GAUGE, COUNTER = Kind.GAUGE, Kind.COUNTER

ORDERS = (
    Field(
        "calls{lane outcome}",
        COUNTER,
        "calls",
        "Calls that were passed through, by lane (cancel, place, query) and end: accepted and rejected are"
        " answers, unknown may have been carried out, failed are queries without an answer, not sent were"
        " refused here, withdrawn are those of clients that left.",
        "calls_total",
    ),
    Field(
        "queries_under_way",
        GAUGE,
        "calls",
        "Queries that were passed through and have no answer yet.",
        "queries_under_way",
    ),
    Field("update_clients", GAUGE, "clients", "Clients that get order updates.", "update_clients"),
    Field(
        "updates_delivered",
        COUNTER,
        "frames",
        "Order updates that went to clients.",
        "updates_delivered_total",
    ),
    Field(
        "updates_dropped",
        COUNTER,
        "frames",
        "Order updates that gave way to newer ones for clients that did not read.",
        "updates_dropped_total",
    ),
    Field(
        "updates_unreadable",
        COUNTER,
        "messages",
        "What came as an order update and is no JSON object, or too long.",
        "updates_unreadable_total",
    ),
)
