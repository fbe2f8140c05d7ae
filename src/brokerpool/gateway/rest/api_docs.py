"""What /openapi.json and /docs say: the shapes of `answers`, and a page that needs nothing from outside."""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from brokerpool.gateway.rest import answers
from brokerpool.gateway.rest.failures import Failure

_SCHEMAS = "#/components/schemas/{name}"
_ANSWERS: tuple[type[msgspec.Struct], ...] = (
    answers.QuoteAnswer,
    answers.MultiQuotesAnswer,
    answers.DepthAnswer,
    answers.HistoryAnswer,
    answers.IntervalsAnswer,
    answers.PingAnswer,
    answers.SymbolAnswer,
    answers.SearchAnswer,
    answers.ExpiryAnswer,
    answers.InstrumentsAnswer,
    Failure,
)
_FAILURES = {
    HTTPStatus.BAD_REQUEST: "The request is not as documented, or its symbol is unknown.",
    HTTPStatus.FORBIDDEN: "The API key is wrong.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests, of the client or to the broker: wait `retry_after` s.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The broker failed; `code` says how.",
}
_MISSING = "There is nothing of this name."


def answered(
    answer: type[msgspec.Struct], *more: HTTPStatus, text: str | None = None
) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint; `text` is the media type of its other form."""
    good: dict[str, Any] = {"application/json": {"schema": _reference(answer)}}
    if text is not None:
        good[text] = {"schema": {"type": "string"}}
    responses: dict[int | str, dict[str, Any]] = {200: {"description": "Success", "content": good}}
    for status, description in (_FAILURES | dict.fromkeys(more, _MISSING)).items():
        content = {"application/json": {"schema": _reference(Failure)}}
        responses[int(status)] = {"description": description, "content": content}
    wait = {"schema": {"type": "integer"}, "description": "Seconds."}
    responses[int(HTTPStatus.TOO_MANY_REQUESTS)]["headers"] = {"Retry-After": wait}
    return responses


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components = document.setdefault("components", {}).setdefault("schemas", {})
        components |= msgspec.json.schema_components(_ANSWERS, ref_template=_SCHEMAS)[1]
        # A faulty request is answered with 400, as OpenAlgo's clients expect.
        for name in ("HTTPValidationError", "ValidationError"):
            components.pop(name, None)
        for operations in document["paths"].values():
            for operation in operations.values():
                if operation["responses"].pop("422", None):
                    for status in (HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS):
                        operation["responses"].setdefault(str(int(status)), answered(Failure)[int(status)])
        app.openapi_schema = document
    return app.openapi_schema


def page(document: dict[str, Any]) -> str:
    """Return a page that lists the operations; it loads nothing, so it works without the internet."""
    rows = "".join(
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td>"
        f"<td>{escape(operation.get('description', ''))}</td>"
        f"<td>{escape(', '.join(_fields(operation, document)))}</td></tr>\n"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    return _PAGE.format(title=escape(document["info"]["title"]), rows=rows)


def _fields(operation: dict[str, Any], document: dict[str, Any]) -> list[str]:
    fields = [parameter["name"] for parameter in operation.get("parameters", ())]
    for media in operation.get("requestBody", {}).get("content", {}).values():
        name = media["schema"]["$ref"].rpartition("/")[2]
        fields += document["components"]["schemas"][name]["properties"]
    return fields


def _reference(answer: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(name=answer.__name__)}


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
td, th {{ text-align: left; vertical-align: top; padding: 0.3em 1em 0.3em 0; }}
</style>
<h1>{title}</h1>
<p>The whole description, for tools: <a href="openapi.json">openapi.json</a>.</p>
<table>
<tr><th>operation</th><th></th><th>fields</th></tr>
{rows}</table>
</html>
"""
