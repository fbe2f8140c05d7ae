"""The pool's own settings: how many connections there are, and where and when they carry symbols."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from brokerpool.market_calendar import MarketHours
from brokerpool.settings.field_types import BrokerName, Count, Seconds, above_published
from brokerpool.settings.hours_setting import HolidayFile, Hours, with_holiday_file
from brokerpool.settings.settings_group import Group


class PoolSettings(Group):
    """The connections to the broker and what each may carry."""

    broker: BrokerName = Field(
        "zerodha", alias="BROKERPOOL_BROKER", description="The broker whose feed is pooled."
    )
    max_symbols_per_websocket: Count = Field(
        1000,
        alias="MAX_SYMBOLS_PER_WEBSOCKET",
        description="Symbols that one broker connection carries.",
    )
    max_websocket_connections: Count = Field(
        3, alias="MAX_WEBSOCKET_CONNECTIONS", description="Broker connections open at the same time."
    )
    placement: Literal["fill-first", "least-loaded"] = Field(
        "fill-first",
        alias="BROKERPOOL_PLACEMENT",
        description="Whether symbols fill one broker connection after the other or spread evenly over all.",
    )
    linger_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        30.0,
        alias="BROKERPOOL_LINGER_SECONDS",
        description="Seconds for which a broker connection without symbols stays open.",
    )
    failover_seconds: Seconds = Field(
        5.0,
        alias="BROKERPOOL_FAILOVER_SECONDS",
        description="Seconds after which the symbols of a lost connection move to others that have room.",
    )
    redundancy: Annotated[int, Field(ge=1, le=2)] = Field(
        1,
        alias="BROKERPOOL_REDUNDANCY",
        description="Connections that carry each symbol; with 2 the first tick wins, and half as many fit.",
    )
    hours: Hours = Field(
        "india",
        alias="BROKERPOOL_MARKET_HOURS",
        description="When exchanges trade, in IST; outside, silence is normal and triggers nothing.",
    )
    holidays_file: HolidayFile = Field(
        "",
        alias="BROKERPOOL_HOLIDAYS_FILE",
        description="Days on which exchanges are closed or trade at other hours, one a line.",
    )

    @cached_property
    def market_hours(self) -> MarketHours:
        """The hours with the holidays, read once; a change of the file needs a restart."""
        return with_holiday_file(MarketHours.parse(self.hours), self.holidays_file)

    def warnings(self, *, symbols_per_connection: int, max_connections: int) -> list[str]:
        """Return one sentence for each setting above the broker's published limit, which holds anyway."""
        limits = {
            "max_symbols_per_websocket": symbols_per_connection,
            "max_websocket_connections": max_connections,
        }
        return above_published(self.broker, self, limits, {field: field.upper() for field in limits})
