"""One call of a broker's HTTP API outside the pool, for a login: made once, bounded in time and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.http_egress import fault

#: The answer to a login is a few hundred bytes; one above this is something else.
LONGEST_LOGIN_ANSWER = 64 * 1024


class Answer(NamedTuple):
    """An answer, read to its end."""

    status: int
    body: bytes


async def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    egress: Egress,
    timeout: float,
    most: int = LONGEST_LOGIN_ANSWER,
    params: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    json: object = None,
) -> Answer:
    """Return an answer, whatever its status; a `form` or `json` is what is sent. No redirect is followed.

    Raises BrokerError when there is none within `timeout` seconds and `most` bytes, without showing what was
    asked: BROKER_UNREACHABLE, or PROXY_REFUSED.
    """
    code = ErrorCode.BROKER_UNREACHABLE
    proxy = egress.route(url)
    try:
        async with (
            aiohttp.ClientSession(
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout),
                connector=aiohttp.TCPConnector(family=egress.family, local_addr=egress.local_addr),
                proxy=proxy.url if proxy is not None else None,
            ) as session,
            # A redirect would carry the proof to another host.
            session.request(
                method, url, params=params, data=form, json=json, allow_redirects=False
            ) as response,
        ):
            return Answer(response.status, await _read(response, most))
    except TimeoutError:
        why = f"did not answer within {timeout:g} s"
    except _TooLongError:
        why = f"answered with more than {most} bytes"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        why = f"did not answer ({fault(egress, url, error) or type(error).__name__})"
        if isinstance(error, aiohttp.ClientHttpProxyError):
            code = ErrorCode.PROXY_REFUSED
    raise BrokerError(f"{urlsplit(url).hostname} {why}.", code=code)


class _TooLongError(Exception):
    """More bytes came than are accepted."""


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise _TooLongError
    return bytes(body)
