"""What a monitoring system reads at /metrics: requests, questions, the queue, what is stored (Prometheus' text format).

    metrics = Metrics(assistant)
    engine.on_answer = metrics.answered          # every finished answer, whoever asked
    app.include_router(metrics.router)

Labels are routes as they are declared, never paths: their number is bounded, and no document's name gets in.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import LecternError
from rag.types import Answer

if TYPE_CHECKING:
    from web.fair_queue import Lanes
    from web.wiring import Assistant

log = logging.getLogger(__name__)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_STAGES = ("embed", "coarse", "fine", "first_text", "total")


class Metrics:
    """The numbers of one server; each has a registry of its own, so that several may live in one process."""

    def __init__(self, assistant: Assistant, lanes: Lanes) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        labels = ("method", "route", "status")
        self.requests = Counter("lectern_http_requests", "Requests answered", labels, registry=registry)
        self.seconds = Histogram(
            "lectern_http_request_seconds",
            "Until a response was complete",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.answers = Counter("lectern_answers", "Questions answered", ("outcome", "cached"), registry=registry)
        self.stages = Histogram(
            "lectern_answer_stage_seconds", "Stages of an answer", ("stage",), buckets=_SECONDS, registry=registry
        )
        self.wait = Histogram(
            "lectern_queue_wait_seconds", "Until a question's turn came", buckets=_SECONDS, registry=registry
        )
        Gauge("lectern_queue_waiting", "Questions waiting for their turn", registry=registry).set_function(
            lambda: lanes.waiting
        )
        Gauge("lectern_queue_running", "Questions being answered", registry=registry).set_function(
            lambda: lanes.running
        )
        Gauge("lectern_ready", "The models are loaded", registry=registry).set_function(
            lambda: float(assistant.ready.is_set())
        )
        self.registry.register(_Stored(assistant))
        ProcessCollector(registry=self.registry)
        self.router = APIRouter()
        self.router.add_api_route("/metrics", self._text, include_in_schema=False)

    def answered(self, answer: Answer) -> None:
        """Count a finished answer and the time of its stages."""
        self.answers.labels("refused" if answer.refused else "answered", str(answer.cached).lower()).inc()
        if not answer.cached:
            for stage in _STAGES:
                if stage in answer.timings_ms:
                    self.stages.labels(stage).observe(answer.timings_ms[stage] / 1000)

    def waited(self, seconds: float) -> None:
        self.wait.observe(seconds)

    def _text(self) -> Response:
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class _Stored(Collector):
    """Documents and passages by workspace, counted when they are asked for."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant

    def describe(self) -> Iterable[Metric]:
        return ()  # counted at a scrape, not when it is registered

    def collect(self) -> Iterable[Metric]:
        documents = GaugeMetricFamily("lectern_documents", "Documents stored", labels=["workspace", "status"])
        chunks = GaugeMetricFamily("lectern_chunks", "Passages stored", labels=["workspace"])
        for name in self._assistant.workspaces():
            try:
                opened = self._assistant.workspace(name)
                counts: dict[str, int] = {}
                for document in opened.documents():
                    counts[document.status] = counts.get(document.status, 0) + 1
                for status, count in counts.items():
                    documents.add_metric([name, status], count)
                chunks.add_metric([name], opened.chunk_count())
            except LecternError as error:  # a damaged workspace must not hide the others
                log.debug("not counted: %s", error)
        yield documents
        yield chunks


class CountRequests:
    """ASGI middleware that counts and times requests by route."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        finally:
            route = route_of(scope)
            self.metrics.requests.labels(_method(scope["method"]), route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)


def route_of(scope: Scope) -> str:
    """The declared path of what has answered a request ("/api/workspaces/{workspace}/ask"), as the router noted it."""
    path = getattr(scope.get("route"), "path", "")
    return f"{scope.get('root_path', '')}{path}" or "other"


def _method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
