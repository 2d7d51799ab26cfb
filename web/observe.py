"""Seen from outside: a number for every request, logs that carry it, and on wish traces for OpenTelemetry.

    set_up_server_logging(settings.telemetry)       # text or JSON, on stderr
    app.add_middleware(Observed, tracer=make_tracer(settings.telemetry))

Logs name routes, statuses, times and numbers; never questions, documents' text or secrets.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.settings import TelemetrySettings
from rag.types import Answer

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

access_log = logging.getLogger("web.access")
request_id: ContextVar[str] = ContextVar("request_id", default="")

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")  # numbers that a proxy may have given already


class Observed:
    """ASGI middleware: X-Request-ID in and out, a log line and a span for each request."""

    def __init__(self, app: ASGIApp, *, tracer: Tracer | None = None) -> None:
        self.app, self.tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        number = given if _GIVEN.fullmatch(given) else secrets.token_hex(8)
        request_id.set(number)
        started, status = time.perf_counter(), 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.accept"):
                status = message.get("status", 101)
                MutableHeaders(scope=message)["X-Request-ID"] = number
            await send(message)

        method = scope.get("method", "WS")
        with self._span(method, headers) as span:
            try:
                await self.app(scope, receive, send_on)
            finally:
                ms = round((time.perf_counter() - started) * 1000, 1)
                access_log.info(
                    "%s %s %s %s ms", method, _shown(scope["path"]), status, ms,
                    extra={"method": method, "path": _shown(scope["path"]), "status": status, "ms": ms},
                )  # fmt: skip
                if span is not None:
                    span.set_attribute("http.response.status_code", status)
                    span.set_attribute("lectern.request_id", number)

    def _span(self, method: str, headers: Headers) -> Any:
        if self.tracer is None:
            return nullcontext()
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        return self.tracer.start_as_current_span(
            f"{method} request", context=extract(dict(headers)), kind=SpanKind.SERVER
        )


def _shown(path: str) -> str:
    """A path without line breaks, so that nobody writes log lines of their own."""
    return "".join(c if c.isprintable() else "?" for c in path[:200])


def record_answer(tracer: Tracer, answer: Answer) -> None:
    """The stages of a finished answer as spans of the request that asked for it, from the times that it carries."""
    end = time.time_ns()
    begin = end - int(answer.timings_ms.get("total", 0.0) * 1e6)
    from opentelemetry.trace import set_span_in_context

    span = tracer.start_span("answer", start_time=begin)
    span.set_attribute("lectern.model", answer.model)
    span.set_attribute("lectern.refused", answer.refused)
    span.set_attribute("lectern.cached", answer.cached)
    span.set_attribute("lectern.confidence", answer.confidence)
    position = begin
    for stage in ("embed", "coarse", "fine"):
        if stage in answer.timings_ms:
            part = tracer.start_span(stage, context=set_span_in_context(span), start_time=position)
            position += int(answer.timings_ms[stage] * 1e6)
            part.end(position)
    span.end(end)


def make_tracer(settings: TelemetrySettings) -> Tracer | None:
    """A tracer that sends to `settings.otlp_endpoint`; None while there is none: nothing is sent by default."""
    if not settings.otlp_endpoint:
        return None
    from core.runtime import require

    needed = {"needed_for": "sending traces (telemetry.otlp_endpoint)"}
    exporter = require(
        "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
        package="opentelemetry-exporter-otlp-proto-grpc",
        **needed,
    )
    sdk = require("opentelemetry.sdk.trace", package="opentelemetry-sdk", **needed)
    export = require("opentelemetry.sdk.trace.export", package="opentelemetry-sdk", **needed)
    resources = require("opentelemetry.sdk.resources", package="opentelemetry-sdk", **needed)
    provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": "lectern"}))
    endpoint = settings.otlp_endpoint
    sender = exporter.OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https"))
    provider.add_span_processor(export.BatchSpanProcessor(sender))
    return provider.get_tracer("lectern")


class _WithRequest(logging.Filter):
    """Puts the number of the request at hand into each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


def set_up_server_logging(settings: TelemetrySettings) -> None:
    """Replace the log's handlers by one that writes `settings.log` lines with request numbers to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_WithRequest())
    if settings.log == "json":
        from pythonjsonlogger.json import JsonFormatter

        handler.setFormatter(
            JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                datefmt="%Y-%m-%dT%H:%M:%S%z",
            )
        )
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    access_log.setLevel(logging.INFO if settings.log == "json" else logging.WARNING)
