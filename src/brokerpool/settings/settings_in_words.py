"""Settings in words: their names, what each allows and means, as faults and the documentation tell it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel


class Described(NamedTuple):
    """One setting as the reference page shows it; `default` is None where a value must be given."""

    name: str
    default: str | None
    allowed: str
    meaning: str
    secret: bool


@functools.cache  # asked at each loading, for the names, and the schema takes its time to write
def describe(group: type[BaseModel]) -> tuple[Described, ...]:
    """Return the settings of a group in the order in which the group declares them."""
    properties: dict[str, dict[str, Any]] = group.model_json_schema()["properties"]
    return tuple(
        Described(
            name,
            _plain(schema["default"]) if "default" in schema else None,
            _allowed(schema),
            schema["description"],
            secret=schema.get("format") == "password",
        )
        for name, schema in properties.items()
        if "description" in schema  # what is read from elsewhere is no setting of its own
    )


def _allowed(schema: Mapping[str, Any]) -> str:
    """Say in words what the schema of one setting allows."""
    if "allowed" in schema:
        return str(schema["allowed"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(schema["enum"])
    if schema.get("format") == "password":
        least = schema["minLength"]
        return f"a secret of at least {least} characters" if least > 1 else "a secret"
    noun = "a whole number" if schema["type"] == "integer" else "a number"
    most = _plain(schema["maximum"])
    if "exclusiveMinimum" in schema:
        return f"{noun} above {_plain(schema['exclusiveMinimum'])} and at most {most}"
    return f"{noun} from {_plain(schema['minimum'])} to {most}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
