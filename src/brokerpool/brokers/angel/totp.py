"""A login of every day without a person: client code, PIN, and one-time codes made of the TOTP secret."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from brokerpool.brokers.login import Credentials, Provider
from brokerpool.errors import SettingsError

if TYPE_CHECKING:
    from brokerpool.brokers.angel.login_session import AngelSession

#: The names of the login fields; without both of them nobody logs in but a person.
PIN, TOTP_SECRET = "pin", "totp_secret"


def totp_provider(
    session: AngelSession,
    pin: str,
    secret: str,
    *,
    present: Callable[[], Credentials],
    before: Provider | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Provider:
    """Return what logs in when the account's `Login` asks for it, which keeps to growing rests.

    `before` is asked first: a login that a person has made is tried, once, before another one is made.
    `present` is what the account has now. Raises SettingsError where the library `pyotp` is not installed, or
    the secret is none.
    """
    try:
        from pyotp import TOTP
    except ImportError:
        raise SettingsError(
            "The login field totp_secret needs the library pyotp: pip install 'brokerpool[angel]'."
        ) from None
    try:
        code_at = TOTP(secret).at
        code_at(0)
    except ValueError:  # told without a word of it
        raise SettingsError(
            "The login field totp_secret is no TOTP secret: give the text beside the QR code of Angel's page."
        ) from None

    tried = ""

    async def log_in() -> Credentials | None:
        nonlocal tried
        given = None if before is None else await before()
        if given is not None:
            new = given.access_token not in (tried, present().access_token)
            tried = given.access_token
            if new:
                return given
        return await session.log_in(pin, code_at(int(wall_clock())))

    return log_in
