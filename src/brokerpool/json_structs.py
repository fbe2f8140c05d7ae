"""What the library hands out, as dicts and JSON: one way for ticks, candles and instruments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """Fields that become a dict, and with it JSON or a row of a table; FastAPI answers it as it is.

    It takes microseconds: for handlers, logs and tables, not for every tick of a busy feed.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by their names, as JSON knows them, in a new dict that is the caller's own."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        # A tuple is no value of JSON, though its encoders take it.
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Give the same in pairs: this is what `dict(record)` and FastAPI's encoder ask for."""
        return iter(self.to_dict().items())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:  # noqa: ANN401  (pydantic's)
        """Let handlers and models name the class as a type: its JSON is that of `to_dict`."""
        from pydantic_core import core_schema  # here alone, for whoever has loaded pydantic already

        serialized = core_schema.plain_serializer_function_ser_schema(
            cls.to_dict, return_schema=core_schema.dict_schema(core_schema.str_schema())
        )
        return core_schema.is_instance_schema(cls, serialization=serialized)
