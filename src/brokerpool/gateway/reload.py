"""New credentials for a gateway that runs: the files with its settings are read again when they change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

from brokerpool.brokers import registry
from brokerpool.errors import SettingsError
from brokerpool.settings import AccountSettings, Settings

logger = logging.getLogger("brokerpool.gateway")

#: Between two looks at the files.
LOOK_SECONDS = 1.0
#: The token is taken over, and the key where that is the login; the gateway itself does without the others,
#: which `brokerpool login` reads.
_NO_RESTART = ("broker_access_token", "broker_api_secret", "broker_login_url")


class SettingsWatch:
    """Notices new access tokens, and keys that are logins; any other change is told to need a restart."""

    def __init__(
        self,
        files: Sequence[Path],
        read: Callable[[], Settings],
        present: Settings,
        asked: asyncio.Event,
    ) -> None:
        """`asked` is set by whoever wants the settings read again though no file has changed."""
        self._files = files
        self._read = read
        self._present = present
        self._asked = asked
        self._keys = _keys(present)
        # From now on: what changes while the gateway starts must not be missed.
        self._known = self._stamps()

    async def tokens(self) -> AsyncGenerator[Mapping[str, str], None]:
        """Yield the access token of each account that has one, each time the settings were read again.

        Where the key is the whole login, a new one is yielded in its place. There is no end. Where somebody
        asked and they cannot be read, there are no tokens: what else is to be read again still is.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._asked.wait()
            # In threads: a disk that hangs must not hold up the ticks.
            stamps = await asyncio.to_thread(self._stamps)
            asked = self._asked.is_set()
            if stamps == self._known and not asked:
                continue
            self._asked.clear()
            self._known = stamps
            try:
                settings = await asyncio.to_thread(self._read)
            except SettingsError as error:
                logger.error("the changed settings are not used: %s", error)
                if asked:
                    yield {}
                continue
            if changed := [*_waiting(self._present, settings)]:
                logger.warning("changed, and not in use before a restart: %s", ", ".join(changed))
            tokens = {a.name: a.broker_access_token.get_secret_value() for a in settings.accounts()}
            # Only when it is another: a key that was stored by `brokerpool login` goes before that of a file.
            keys = _keys(settings)
            renewed = {name: key for name, key in keys.items() if key != self._keys.get(name, key)}
            self._keys = keys
            yield renewed | {name: token for name, token in tokens.items() if token}

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(file) for file in self._files]


def _keys(settings: Settings) -> dict[str, str]:
    """Return the key of each account of which it is the whole login."""
    return {
        account.name: account.broker_api_key.get_secret_value()
        for account in settings.accounts()
        if _key_is_login(account)
    }


def _key_is_login(account: AccountSettings) -> bool:
    return registry.broker(account.broker).key_is_login


def _waiting(present: Settings, new: Settings) -> Iterator[str]:
    """Yield what has changed and is in use only after a restart, by the names that a person writes."""
    taken_over = {"account_tables", *_NO_RESTART}
    if not present.account_tables and _key_is_login(present.accounts()[0]):
        taken_over.add("broker_api_key")
    for name, field in Settings.model_fields.items():
        if name not in taken_over and getattr(new, name) != getattr(present, name):
            yield str(field.alias)
    old = {account.name: account for account in present.account_tables}
    if list(old) != [account.name for account in new.account_tables]:
        yield "accounts"
        return
    for account in new.account_tables:
        taken_over = {*_NO_RESTART, "broker_api_key"} if _key_is_login(account) else {*_NO_RESTART}
        for name, field in AccountSettings.model_fields.items():
            if name not in taken_over and getattr(account, name) != getattr(old[account.name], name):
                yield account.setting(field.alias or name)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None  # an editor is about to put the new one in its place
    return status.st_mtime_ns, status.st_size
