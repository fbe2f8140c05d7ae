"""The `apikey` of a call: the client's is taken out and the account's put in; nothing else changes. Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from brokerpool.gateway.rest.failures import FaultyRequestError

_MEMBER = "apikey"
_LONGEST_KEY = 256
#: More parameters than any call has.
_MOST_PARAMETERS = 64

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class KeyedBody:
    """The JSON object of a POST; `repr` shows nothing of it."""

    __slots__ = ("_others", "key")

    def __init__(self, body: bytes) -> None:
        """Raises FaultyRequestError for what is no JSON object with an `apikey` that is a text."""
        try:
            self._others = _members.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise FaultyRequestError(body="must be a JSON object") from None
        if _MEMBER not in self._others:
            raise FaultyRequestError(apikey="Field required")
        try:
            #: The client's.
            self.key = _checked(_text.decode(self._others[_MEMBER]))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise FaultyRequestError(apikey="must be a text") from None

    def with_key(self, key: str) -> bytes:
        """Return the object with another key in the same place; every other value keeps its very text."""
        return _encode({**self._others, _MEMBER: msgspec.Raw(_encode(key))})


class KeyedQuery:
    """The query of a GET; `repr` shows nothing of it."""

    __slots__ = ("_members", "key")

    def __init__(self, query: bytes) -> None:
        """Raises FaultyRequestError for one without a single `apikey`, or with very many parameters."""
        try:
            pairs = parse_qsl(
                query.decode("ascii"),
                keep_blank_values=True,
                max_num_fields=_MOST_PARAMETERS,
                errors="strict",
            )
        except ValueError:
            raise FaultyRequestError(query="cannot be read") from None
        self._members: dict[str, list[str]] = {}
        for name, value in pairs:
            self._members.setdefault(name, []).append(value)
        keys = self._members.get(_MEMBER, [])
        if len(keys) != 1:
            raise FaultyRequestError(apikey="may be given once" if keys else "Field required")
        #: The client's.
        self.key = _checked(keys[0])

    def with_key(self, key: str) -> dict[str, list[str]]:
        """Return the parameters with another key in the same place."""
        return {**self._members, _MEMBER: [key]}


def _checked(key: str) -> str:
    if not 1 <= len(key) <= _LONGEST_KEY:
        raise FaultyRequestError(apikey=f"must have 1 to {_LONGEST_KEY} characters")
    return key
