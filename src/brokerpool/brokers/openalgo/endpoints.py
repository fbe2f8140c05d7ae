"""One call of OpenAlgo's REST outside the pool, for the list and for a login: bounded in time and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from brokerpool.brokers.openalgo.rest import HEADERS, PREFIX
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.http_egress import fault


class Answer(NamedTuple):
    """An answer, read to its end."""

    status: int
    body: bytes


async def call(
    http_url: str,
    endpoint: str,
    *,
    egress: Egress,
    timeout: float,
    most: int,
    params: Mapping[str, str] | None = None,
    json: object = None,
) -> Answer:
    """Return an answer, whatever its status: to a POST of `json`, else to a GET; no redirect is followed.

    Raises BrokerError when there is none within `timeout` seconds and `most` bytes, without showing what was
    asked: BROKER_UNREACHABLE, or PROXY_REFUSED.
    """
    host = urlsplit(http_url).hostname
    code = ErrorCode.BROKER_UNREACHABLE
    try:
        return await _answer(
            f"{http_url.rstrip('/')}{PREFIX}/{endpoint}", egress, timeout, most, params, json
        )
    except TimeoutError:
        why = f"did not answer within {timeout:g} s"
    except _TooLongError:
        why = f"answered with more than {most} bytes"
    except (aiohttp.ClientError, OSError) as error:
        why = f"did not answer ({fault(egress, http_url, error) or type(error).__name__})"
        if isinstance(error, aiohttp.ClientHttpProxyError):
            code = ErrorCode.PROXY_REFUSED
    raise BrokerError(f"{host} {why}: {endpoint}.", code=code)


class _TooLongError(Exception):
    """More bytes came than are accepted."""


async def _answer(
    url: str, egress: Egress, timeout: float, most: int, params: Mapping[str, str] | None, json: object
) -> Answer:
    proxy = egress.route(url)
    async with (
        aiohttp.ClientSession(
            headers=HEADERS,
            timeout=aiohttp.ClientTimeout(total=timeout),
            connector=aiohttp.TCPConnector(family=egress.family, local_addr=egress.local_addr),
            proxy=proxy.url if proxy is not None else None,
        ) as session,
        # A redirect would carry the key to another host.
        session.request(
            "GET" if json is None else "POST", url, params=params, json=json, allow_redirects=False
        ) as response,
    ):
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                raise _TooLongError
        return Answer(response.status, bytes(body))
