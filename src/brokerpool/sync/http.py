"""The blocking twin of the HTTP client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack

from brokerpool import argument_checks
from brokerpool.errors import OutcomeUnknown
from brokerpool.http import client as asynchronous
from brokerpool.http.call import Json, Options, Params
from brokerpool.http.call_queue import Lane
from brokerpool.http.encoding import Body
from brokerpool.http.response import Response
from brokerpool.http.user_hooks import RECONCILE_SECONDS
from brokerpool.sync.shutdown import Twin


class BrokerClient(Twin):
    """`brokerpool.BrokerClient` with blocking methods; safe to use from any number of threads.

    Takes the same arguments; its hooks (a login's provider, `reconcile`) stay asynchronous, on the loop.
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str | None = None,
        timeout: float = 10.0,
        **options: Any,  # noqa: ANN401  (BrokerClient's)
    ) -> None:
        self._timeout = timeout
        self._client = asynchronous.BrokerClient(base_url, name=name, timeout=timeout, **options)
        super().__init__(f"client {self._client.name}", self._client.drain)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        json: Json = None,
        data: Body | None = None,
        group: str = "default",
        lane: Lane = Lane.QUERY,
        weight: int = 1,
        order_tag: str | None = None,
        reads: bool = False,
        paced: bool = False,
        share: bool = False,
        timeout: float | None = None,
    ) -> Response:
        """Return the broker's answer; raises as the asynchronous method does."""
        timeout = self._timeout if timeout is None else timeout
        call = self._client.request(
            method,
            path,
            params=params,
            headers=headers,
            json=json,
            data=data,
            group=group,
            lane=lane,
            weight=weight,
            order_tag=order_tag,
            reads=reads,
            paced=paced,
            share=share,
            timeout=timeout,
        )
        return self._loop.run(call, timeout)

    def get(self, path: str, **options: Unpack[Options]) -> Response:
        """Ask for something; the same as `request` with GET, as the others are with their methods."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Unpack[Options]) -> Response:
        """Have something made or done."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[Options]) -> Response:
        """Have something replaced."""
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Unpack[Options]) -> Response:
        """Have something removed."""
        return self.request("DELETE", path, **options)

    def reconcile(self, error: OutcomeUnknown) -> Any:  # noqa: ANN401  (it is what the hook returns)
        """Ask the broker what became of an order. Raises ValueError when there is no hook, or no tag."""
        return self._loop.run(
            argument_checks.instance("error", error, OutcomeUnknown).reconcile(), RECONCILE_SECONDS
        )

    def warm_up(self, path: str = "/") -> int:
        """Use every idle connection once and return how many answered."""
        return self._loop.run(self._client.warm_up(path), self._timeout)

    def keep_warm(
        self, path: str = "/", *, interval: float = 20.0, when: Callable[[], bool] = lambda: True
    ) -> None:
        """From now on use each connection at least every `interval` seconds, while `when` says so."""
        self._loop.call(partial(self._client.keep_warm, path, interval=interval, when=when))

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the client."""
        return self._loop.call(self._client.stats)

    def __repr__(self) -> str:
        return repr(self._client)
