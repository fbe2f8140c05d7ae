"""What a command asks of the gateway that runs."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Annotated, Any

import typer

from brokerpool.commands.options import env_file_or_default
from brokerpool.egress import Egress
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.settings import GatewaySettings

_HTTP_SECONDS = 5.0

Url = Annotated[str, typer.Option(help="The gateway's http_url.")]
#: Where `serve` listens when nobody says otherwise.
DEFAULT_URL = "http://127.0.0.1:5000"


class RefusedByGateway(Exception):  # noqa: N818  (the gateway's own error, of which this is only the text)
    """The gateway answered with an error; the text is its message."""


def answer(url: str, path: str) -> Any:  # noqa: ANN401  (whatever JSON it is)
    """Return the JSON that the gateway answers a GET with; its key is BROKERPOOL_API_KEY, where that is set.

    Raises BrokerpoolError with GATEWAY_UNREACHABLE when there is no answer, and RefusedByGateway.
    """
    whole = f"{url.rstrip('/')}/{urllib.parse.quote(path, safe='/:')}"
    request = urllib.request.Request(whole)
    key = GatewaySettings.load(env_file=env_file_or_default(None)).api_key.get_secret_value()
    if key:
        # Not for whoever the answer may lead to.
        request.add_unredirected_header("X-API-KEY", key)
    try:
        # As everything of ours: a gateway on this machine never through a proxy, which would get its key.
        proxy = Egress().route(whole)
        proxies = {} if proxy is None else dict.fromkeys(("http", "https"), proxy.url)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        with opener.open(request, timeout=_HTTP_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise RefusedByGateway(_message(error)) from None
    except (OSError, ValueError) as error:
        text = f"no gateway answers at {url} ({error})."
        raise BrokerpoolError(text, code=ErrorCode.GATEWAY_UNREACHABLE) from None


def _message(error: urllib.error.HTTPError) -> str:
    with error:
        try:
            return str(json.load(error)["message"])
        except (OSError, ValueError, LookupError, TypeError):
            return f"the gateway answered HTTP {error.code}"
