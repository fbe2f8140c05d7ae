"""The settings of the HTTP pool: its connections, and how long and how often a call is tried."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from brokerpool.settings.field_types import Seconds
from brokerpool.settings.settings_group import Group


class HttpSettings(Group):
    """The connections of the HTTP pool, which carry quotes and candles."""

    pool_connections: Annotated[int, Field(ge=1, le=100)] = Field(
        10, alias="POOL_CONNECTIONS", description="Hosts of the broker that are called at the same time."
    )
    pool_maxsize: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, alias="POOL_MAXSIZE", description="HTTP connections to each host of the broker."
    )
    max_retries: Annotated[int, Field(ge=0, le=10)] = Field(
        3, alias="MAX_RETRIES", description="How often a read that failed is repeated."
    )
    backoff_factor: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = Field(
        0.5,
        alias="BACKOFF_FACTOR",
        description="Seconds before the first repeat; each further one waits twice as long.",
    )
    http_timeout: Seconds = Field(
        10.0,
        alias="BROKERPOOL_HTTP_TIMEOUT",
        description="Seconds that a call to the broker may take, with waiting and repeats.",
    )
