"""New credentials for a gateway that runs: the files with its settings are read again when they change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

from brokerpool.errors import SettingsError
from brokerpool.settings import AccountSettings, Settings

logger = logging.getLogger("brokerpool.gateway")

#: Between two looks at the files.
LOOK_SECONDS = 1.0
#: The token is taken over, and the gateway itself does without the others, which `brokerpool login` reads.
_NO_RESTART = ("broker_access_token", "broker_api_secret", "broker_login_url")


class SettingsWatch:
    """Notices new access tokens; any other change is told to need a restart."""

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
        # From now on: what changes while the gateway starts must not be missed.
        self._known = self._stamps()

    async def tokens(self) -> AsyncGenerator[Mapping[str, str], None]:
        """Yield the access token of each account that has one, each time the settings were read again.

        There is no end. Where somebody asked and they cannot be read, there are no tokens: what else is to be
        read again still is.
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
            yield {name: token for name, token in tokens.items() if token}

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(file) for file in self._files]


def _waiting(present: Settings, new: Settings) -> Iterator[str]:
    """Yield what has changed and is in use only after a restart, by the names that a person writes."""
    for name, field in Settings.model_fields.items():
        same = getattr(new, name) == getattr(present, name)
        if name not in (*_NO_RESTART, "account_tables") and not same:
            yield str(field.alias)
    old = {account.name: account for account in present.account_tables}
    if list(old) != [account.name for account in new.account_tables]:
        yield "accounts"
        return
    for account in new.account_tables:
        for name, field in AccountSettings.model_fields.items():
            if name not in _NO_RESTART and getattr(account, name) != getattr(old[account.name], name):
                yield account.setting(field.alias or name)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None  # an editor is about to put the new one in its place
    return status.st_mtime_ns, status.st_size
