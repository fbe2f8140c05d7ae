"""The page and what it loads: files of this package, read once, under a policy that lets nothing else in."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from importlib import resources

from starlette.responses import Response

#: Nothing but our own files, no inline script or style, no embedding; nothing can be sent to another host.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_MEDIA_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}


class Pages:
    """The files by name, as in `vendor/uplot.css`; a name that is not among them leads nowhere."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        root = resources.files(__package__) / "static"
        for folder, prefix in ((root, ""), (root / "vendor", "vendor/")):
            for file in folder.iterdir():
                kind = _MEDIA_TYPES.get(file.name.rpartition(".")[2])
                if kind is not None and file.is_file():
                    body = file.read_bytes()
                    self._files[prefix + file.name] = body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"'

    @property
    def names(self) -> frozenset[str]:
        """Every file that is served."""
        return frozenset(self._files)

    def answer(self, name: str, seen: str = "") -> Response | None:
        """Return a file, or 304 when the browser has `seen` it already; None when there is none."""
        file = self._files.get(name)
        if file is None:
            return None
        body, kind, tag = file
        headers = {**SECURITY_HEADERS, "ETag": tag, "Cache-Control": "no-cache"}
        if seen == tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(body, headers=headers, media_type=kind)
