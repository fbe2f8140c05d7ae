"""The protobuf messages of Upstox's market data feed v3, as far as a tick needs them.

The schema is built here instead of generated from a file: nothing has to be compiled, and what no tick
carries, greeks for instance, is left out and passed over as unknown. Rows of `feeds` and the feed of a row
are kept as bytes and parsed one by one, so that a broken row costs itself and not its message.

google's protobuf (upb, in C) was chosen by measure, on 2026-11-29: it reads a full packet with its book in
7 us where a decoder written by hand in Python needs 22 us, and one in mode ltpc in 1 us instead of 3 us.
A quote, whose book is passed over, is read by hand: see `quote_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError
except ImportError:
    raise ImportError("Upstox's feed is protobuf: install brokerpool[upstox]") from None

__all__ = ["DecodeError", "Entry", "FeedResponse"]

#: The kind of a field in words; `*` stands for repeated, and a name for a message of the schema.
_Fields = Mapping[str, tuple[int, str]]

_PACKAGE = "brokerpool.upstox"

# Numbers and types are those of the descriptor in upstox-python-sdk 2.30.0.
_SCHEMA: Mapping[str, _Fields] = {
    "FeedResponse": {
        "type": (1, "int32"),
        "feeds": (2, "*bytes"),
        "current_ts": (3, "int64"),
        "market_info": (4, "MarketInfo"),
    },
    # A map is a repeated message of key and value on the wire.
    "Entry": {"key": (1, "string"), "feed": (2, "Feed")},
    "Feed": {"ltpc": (1, "Ltpc"), "full": (2, "FullFeed")},
    "FullFeed": {"market": (1, "MarketFull"), "index": (2, "IndexFull")},
    "Ltpc": {"ltp": (1, "double"), "ltt": (2, "int64"), "ltq": (3, "int64"), "cp": (4, "double")},
    "MarketFull": {
        "ltpc": (1, "Ltpc"),
        "book": (2, "Book"),
        "bars": (4, "Bars"),
        "atp": (5, "double"),
        "vtt": (6, "int64"),
        "oi": (7, "double"),
        "tbq": (9, "double"),
        "tsq": (10, "double"),
    },
    "IndexFull": {"ltpc": (1, "Ltpc"), "bars": (2, "Bars")},
    "Book": {"levels": (1, "*Level")},
    "Level": {
        "bid_quantity": (1, "int64"),
        "bid_price": (2, "double"),
        "ask_quantity": (3, "int64"),
        "ask_price": (4, "double"),
    },
    "Bars": {"bars": (1, "*Bar")},
    "Bar": {"interval": (1, "string"), "open": (2, "double"), "high": (3, "double"), "low": (4, "double")},
    "MarketInfo": {"segments": (1, "*SegmentStatus")},
    "SegmentStatus": {"key": (1, "string"), "status": (2, "int32")},
}

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "double": _FIELD.TYPE_DOUBLE,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}


def _classes(schema: Mapping[str, _Fields]) -> dict[str, Any]:
    """Return a class for each message, in a pool of their own: the SDK's may be loaded beside them."""
    file = descriptor_pb2.FileDescriptorProto(
        name="brokerpool_upstox.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
            field = message.field.add(name=field_name, number=number, label=label)
            kind = kind.removeprefix("*")
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in schema
    }


_CLASSES = _classes(_SCHEMA)
FeedResponse: Any = _CLASSES["FeedResponse"]
Entry: Any = _CLASSES["Entry"]
