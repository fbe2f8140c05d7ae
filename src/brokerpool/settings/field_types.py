"""The kinds of values that settings have, and what each allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from brokerpool.brokers import registry

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=4_096, le=1_073_741_824)]
Host = Annotated[
    str,
    Field(pattern=r"^\S+$", json_schema_extra={"allowed": "a host name or an address"}),
    # Brackets belong to URLs; an address is known without them.
    AfterValidator(lambda host: host[1:-1] if host[0] == "[" and host[-1] == "]" else host),
]
WebSocketUrl = Annotated[
    str, Field(pattern=r"^wss?://[^\s/]+", json_schema_extra={"allowed": "a ws:// or wss:// URL"})
]
HttpUrl = Annotated[
    str, Field(pattern=r"^https?://[^\s/]+", json_schema_extra={"allowed": "an http:// or https:// URL"})
]

#: Seconds of a unit in which OpenAlgo tells rates.
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3_600.0, "day": 86_400.0}
RateLimit = Annotated[
    str,
    Field(
        pattern=rf"^[1-9][0-9]{{0,5}} per ({'|'.join(_UNITS)})$",
        json_schema_extra={"allowed": "a whole number and a unit, as in 50 per second (minute, hour, day)"},
    ),
]
Switch = Annotated[bool, Field(json_schema_extra={"allowed": "true or false"})]
FileName = Annotated[str, Field(json_schema_extra={"allowed": "the path of a file"})]
#: Words separated by commas.
Words = Annotated[str, Field(pattern=r"^[^\s,]+(, *[^\s,]+)*$")]


def rate(limit: str) -> tuple[int, float]:
    """Return a rate limit as a number and the seconds of its window."""
    most, _, unit = limit.split()
    return int(most), _UNITS[unit]


def words(text: str) -> list[str]:
    """Return the words of a setting that holds several, separated by commas."""
    return [word for part in text.split(",") if (word := part.strip())]


def above_published(
    broker: str, values: BaseModel, limits: Mapping[str, int], names: Mapping[str, str]
) -> list[str]:
    """Return one sentence for each field whose value is above its limit, under the name that people write.

    The default is nobody's wish: of that no word, where a broker allows less.
    """
    fields = type(values).model_fields
    return [
        f"{names[field]} is {value}, above the {limit} that {broker} publishes: the pool keeps to {limit}."
        for field, limit in limits.items()
        if (value := getattr(values, field)) > limit and value != fields[field].default
    ]


def login_fields(text: str) -> dict[str, str]:
    """Return the texts of a JSON object by name, none of an empty text.

    Raises ValueError, which quotes nothing.
    """
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        raise ValueError('it must be a JSON object of texts, as in {"totp_secret": "..."}') from None


def _checked_fields(text: SecretStr) -> SecretStr:
    login_fields(text.get_secret_value())
    return text


def _installed(name: str) -> str:
    installed = registry.names()
    if name not in installed:
        others = ", ".join(installed)
        raise ValueError(
            f"no broker of this name is installed, but {others}; install the package that brings it"
        )
    return name


LoginFields = Annotated[
    SecretStr,
    AfterValidator(_checked_fields),
    Field(json_schema_extra={"allowed": 'a JSON object of texts, as in {"totp_secret": "..."}'}),
]
BrokerName = Annotated[
    str, AfterValidator(_installed), Field(json_schema_extra={"allowed": "a broker that is installed"})
]
