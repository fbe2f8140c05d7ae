"""Brings a broker's instrument list over HTTP; the one part of the lists that needs aiohttp."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.http_egress import fault
from brokerpool.retry_after import retry_after


async def download(
    url: str, headers: Mapping[str, str], timeout: float, egress: Egress, most: int
) -> bytearray:
    """Return the list as it comes, gzipped or not, within `timeout` seconds and with `most` bytes at most.

    Raises BrokerError: BROKER_REFUSED_CREDENTIALS for an answer of 401 or 403, PROXY_REFUSED when a proxy did
    not let the call out, BROKER_UNREACHABLE for everything else; its `retry_after` is what a Retry-After asks
    for.
    """
    host = urlsplit(url).hostname
    try:
        return await _bytes(url, headers, timeout, egress, most)
    except TimeoutError:
        text = f"{host} did not deliver its instrument list within {timeout:g} s."
        raise BrokerError(text, code=ErrorCode.BROKER_UNREACHABLE) from None
    except aiohttp.ClientError as error:
        why = fault(egress, url, error) or type(error).__name__
        refused = isinstance(error, aiohttp.ClientHttpProxyError)
        raise BrokerError(
            f"{host} did not deliver its instrument list ({why}).",
            code=ErrorCode.PROXY_REFUSED if refused else ErrorCode.BROKER_UNREACHABLE,
        ) from None


async def _bytes(
    url: str, headers: Mapping[str, str], timeout: float, egress: Egress, most: int
) -> bytearray:
    proxy = egress.route(url)
    # Unpacked by whoever reads it, a little at a time; aiohttp would hand the loop whole megabytes.
    async with (
        aiohttp.ClientSession(
            headers={**headers, "Accept-Encoding": "gzip"},
            timeout=aiohttp.ClientTimeout(total=timeout),
            auto_decompress=False,
            connector=aiohttp.TCPConnector(family=egress.family, local_addr=egress.local_addr),
            proxy=proxy.url if proxy is not None else None,
        ) as session,
        session.get(url) as response,
    ):
        if response.status != HTTPStatus.OK:
            raise _refusal(response)
        dump = bytearray()
        async for chunk in response.content.iter_any():
            dump += chunk
            if len(dump) > most:
                text = f"The instrument list has more than {most} bytes."
                raise BrokerError(text, code=ErrorCode.BROKER_UNREACHABLE)
        return dump


def _refusal(response: aiohttp.ClientResponse) -> BrokerError:
    told = response.headers.get
    wait = retry_after(told("Retry-After"), time.time(), told("Date"))
    text = f"{response.url.host} answered HTTP {response.status} instead of its instrument list"
    refused = response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    error = BrokerError(
        f"{text}." if wait is None else f"{text} and asks to be left alone for {wait:.0f} s.",
        code=ErrorCode.BROKER_REFUSED_CREDENTIALS if refused else ErrorCode.BROKER_UNREACHABLE,
    )
    error.retry_after = wait
    return error
