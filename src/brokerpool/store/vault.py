"""Sealing secrets before they reach the database, and telling a wrong key from a row that was changed."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from brokerpool.errors import ErrorCode, StoreError


class Sealed(NamedTuple):
    """What the database gets to see."""

    text: str
    #: Which key sealed it; tells nothing about the key.
    key_id: str


class Vault:
    """Seals with the first of the given keys and opens with any of them, so that keys can be rotated.

    Each sealed text carries the place that it was made for, so that a row copied over another is noticed.
    """

    def __init__(self, keys: str) -> None:
        """`keys` are Fernet keys separated by commas, the newest first.

        Raises StoreError with SECRET_KEY_MISSING when there is none, SECRET_KEY_WRONG for one that is no
        Fernet key.
        """
        given = [key.strip() for key in keys.split(",") if key.strip()]
        if not given:
            raise StoreError("BROKERPOOL_SECRET_KEY is not set.", code=ErrorCode.SECRET_KEY_MISSING)
        try:
            self._fernet = MultiFernet([Fernet(key) for key in given])
        except ValueError:
            raise StoreError(
                "BROKERPOOL_SECRET_KEY is no Fernet key.", code=ErrorCode.SECRET_KEY_WRONG
            ) from None
        self._key_ids = [_fingerprint(key) for key in given]

    def seal(self, place: str, secret: str) -> Sealed:
        """Return the secret as the database may see it, bound to its place."""
        content = json.dumps([place, secret]).encode()
        return Sealed(self._fernet.encrypt(content).decode(), self._key_ids[0])

    def open(self, place: str, sealed: Sealed) -> str:
        """Return the secret.

        Raises StoreError with SECRET_KEY_WRONG when it was sealed with a key that is not among the given
        ones, and CREDENTIALS_DAMAGED when the row was changed or belongs elsewhere.
        """
        if sealed.key_id not in self._key_ids:
            raise StoreError(
                f"{place} was sealed with key {sealed.key_id};"
                f" BROKERPOOL_SECRET_KEY holds {', '.join(self._key_ids)}.",
                code=ErrorCode.SECRET_KEY_WRONG,
            )
        try:
            found, secret = json.loads(self._fernet.decrypt(sealed.text.encode()))
        except (InvalidToken, UnicodeError):
            raise StoreError(
                f"{place} does not open with the key that sealed it.", code=ErrorCode.CREDENTIALS_DAMAGED
            ) from None
        if found != place:
            raise StoreError(
                f"{place} holds what was sealed for {found}.", code=ErrorCode.CREDENTIALS_DAMAGED
            )
        return str(secret)

    def __repr__(self) -> str:
        return f"<Vault with {len(self._key_ids)} keys>"


def _fingerprint(key: str) -> str:
    # Of a random 256-bit key, so that it gives nothing away; the prefix keeps it apart from any other use.
    return hashlib.sha256(b"brokerpool secret key " + key.encode()).hexdigest()[:16]
