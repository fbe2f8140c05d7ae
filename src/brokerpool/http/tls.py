"""How a broker's HTTP API is to prove who it is: no connection without verification."""

from __future__ import annotations

import ssl
from functools import cache


@cache  # reading the machine's authorities takes 40 ms and more
def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def verifying(context: ssl.SSLContext | None) -> ssl.SSLContext:
    """Return the context, or the default one for None. Raises ValueError for one that does not verify."""
    if context is None:
        return _default_context()
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ValueError("the ssl_context has to verify certificates and host names")
    if 0 < context.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise ValueError("the ssl_context has to insist on TLS 1.2 or newer")
    return context
