"""What logins at brokers have alike: how they call, and what stands in the address to which a page leads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

import msgspec

from brokerpool.brokers.http_call import Answer, call
from brokerpool.brokers.registry import Holder, LoginSession
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError
from brokerpool.untrusted_text import remembered


class BaseSession(LoginSession):
    """A login session but for its page, its calls and what they give.

    A call takes `timeout` seconds at most, leaves as the `egress` says, and is made once.
    """

    def __init__(
        self,
        *,
        http_url: str,
        login_url: str,
        egress: Egress | None,
        timeout: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._http_url = http_url.rstrip("/")
        self._login_url = login_url
        self._egress = egress or Egress()
        self._timeout = timeout
        self._wall_clock = wall_clock

    async def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        form: Mapping[str, str] | None = None,
        json: object = None,
    ) -> Answer:
        return await call(
            method,
            f"{self._http_url}{path}",
            headers=headers,
            egress=self._egress,
            timeout=self._timeout,
            form=form,
            json=json,
        )

    async def _asked(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return a good answer. Raises BrokerError for what the broker complains of."""
        answer = await self._call(method, path, headers, form=form)
        complaint = self._fault(answer)
        if complaint is not None:
            raise complaint
        return answer

    def _fault(self, answer: Answer) -> BrokerError | None:
        """Return what the broker complains of; None for an answer without a complaint."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {urlsplit(self._http_url).hostname}>"


class User(msgspec.Struct):
    """Whose a token is, as more than one broker tells it."""

    user_id: str
    user_name: str = ""

    @property
    def holder(self) -> Holder:
        """The account's holder, in words of bounded length."""
        return Holder(remembered(self.user_id, 64), remembered(self.user_name, 100))


def in_address(text: str, *names: str) -> list[str] | None:
    """Return the values of these names in the address to which a login has led; None for what is no address.

    Raises ValueError, which quotes nothing, for an address in which one of them is missing or stands twice.
    """
    if f"{names[0]}=" not in text and "://" not in text:
        return None
    _, asked, query = text.partition("?")
    found = parse_qs((query if asked else text).partition("#")[0])
    values = [found.get(name, []) for name in names]
    if not all(len(value) == 1 for value in values):
        raise not_in_address(*names)
    return [value for (value,) in values]


def not_in_address(*names: str) -> ValueError:
    """Return the error for an address that does not have what it should."""
    return ValueError(
        f"this address has no {' and '.join(names)}: log in again, and copy the whole address that the"
        " browser shows afterwards, from http to its end"
    )
