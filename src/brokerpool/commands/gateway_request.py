"""What a command asks of the gateway that runs; every way in which that fails becomes one line."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from brokerpool.commands.gateway_target import Target
from brokerpool.egress import Egress
from brokerpool.errors import BrokerpoolError, ErrorCode

#: For the whole answer; each wait within it is shorter.
_HTTP_SECONDS = 5.0
#: No answer of a gateway is so long.
_LONGEST = 64 * 1024 * 1024
_PIECE = 256 * 1024


class RefusedByGateway(Exception):  # noqa: N818  (the gateway's own error, of which this is only the text)
    """The gateway answered with an error; the text is its message."""


def answer(target: Target, path: str, *, needs: tuple[str, ...] = ()) -> Any:  # noqa: ANN401  (whatever JSON)
    """Return the JSON that the gateway answers a GET with, in 5 s at most; `needs` are members it must have.

    Raises BrokerpoolError with GATEWAY_UNREACHABLE when no gateway answers, and RefusedByGateway.
    """
    try:
        told = json.loads(_read(target, path))
    except urllib.error.HTTPError as error:
        raise RefusedByGateway(_message(target, error)) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        text = f"no gateway answers at {target.url} ({_why(error)})."
        raise BrokerpoolError(text, code=ErrorCode.GATEWAY_UNREACHABLE) from None
    if not isinstance(told, dict) or any(name not in told for name in needs):
        text = f"no gateway answers at {target.url} (what it sent is JSON of something else)."
        raise BrokerpoolError(text, code=ErrorCode.GATEWAY_UNREACHABLE)
    return told


def _read(target: Target, path: str) -> bytes:
    whole = f"{target.url}/{urllib.parse.quote(path, safe='/:')}"
    request = urllib.request.Request(whole)
    if target.key:
        # Not for whoever the answer may lead to.
        request.add_unredirected_header("X-API-KEY", target.key)
    # As everything of ours: a gateway on this machine never through a proxy, which would get its key.
    proxy = Egress().route(whole)
    proxies = {} if proxy is None else dict.fromkeys(("http", "https"), proxy.url)
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler(proxies)]
    if whole.startswith("https:"):
        context = ssl.create_default_context(cafile=target.ca or None)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    until = time.monotonic() + _HTTP_SECONDS
    pieces, length = [], 0
    with urllib.request.build_opener(*handlers).open(request, timeout=_HTTP_SECONDS) as response:
        while piece := response.read1(_PIECE):
            pieces.append(piece)
            length += len(piece)
            if length > _LONGEST or time.monotonic() > until:
                raise TimeoutError
    return b"".join(pieces)


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    match reason:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {reason.verify_message}; see BROKERPOOL_GATEWAY_CA"
        case ssl.SSLError():
            name = reason.reason or type(reason).__name__
            return f"TLS failed: {name}; is it http:// there, or BROKERPOOL_GATEWAY_CA wrong"
        case TimeoutError():
            return f"no whole answer within {_HTTP_SECONDS:g} s"
        case http.client.RemoteDisconnected():
            return "it closed the connection; is it https:// there"
        case http.client.HTTPException():
            return "what listens there does not speak HTTP; WebSocket clients have another port"
        case json.JSONDecodeError() | UnicodeDecodeError():
            return "what it sent is no JSON"
        case _:
            return " ".join(str(reason).split()) or type(reason).__name__


def _message(target: Target, error: urllib.error.HTTPError) -> str:
    with error:
        try:
            told = str(json.loads(error.read(_PIECE))["message"])
        except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
            return f"{target.url} answered HTTP {error.code}, and not as a gateway does."
    if error.code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        shown = "the key shown" if target.key else "no key was shown; it"
        told += f" At {target.url}; {shown} is BROKERPOOL_GATEWAY_KEY, else BROKERPOOL_API_KEY."
    return " ".join(told.split())
