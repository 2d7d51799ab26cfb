"""The server: the page and its API on one FastAPI app, one process, one port."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from core.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from core.settings import Settings
    from web.accounts.accounts import Accounts
    from web.wiring import Assistant

log = logging.getLogger(__name__)


def build_app(assistant: Assistant, *, local_only: bool = True, accounts: Accounts | None = None) -> FastAPI:
    """The FastAPI app with page, API and files; it closes the assistant when it ends. `accounts` None: no login."""
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.staticfiles import StaticFiles
    from starlette.responses import Response

    from ingest.readers import SUFFIXES
    from web.accounts.middleware import AccountsMiddleware
    from web.accounts.routes import router as accounts_router
    from web.api import add_error_answers, router
    from web.connections import PatientBodies
    from web.examples import EXAMPLE
    from web.fair_queue import FairQueue, Lanes
    from web.guard import Guard
    from web.live import router as live
    from web.mcp import build_server, http_app
    from web.metrics import CountRequests, Metrics
    from web.observe import Observed, make_tracer, record_answer
    from web.sessions import router as sessions
    from web.theme import STATIC, LecternTheme, head
    from web.ui import build_page
    from web.v1.app import add_v1

    class PageFiles(StaticFiles):
        """Asked for anew at each visit, so that an upgrade shows at once; unchanged files cost an empty answer."""

        def file_response(self, *args: Any, **kwargs: Any) -> Response:
            response = super().file_response(*args, **kwargs)
            response.headers["Cache-Control"] = "no-cache"
            return response

    agents = build_server(assistant)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        assistant.start()
        async with agents.session_manager.run():
            yield
        if (talks := getattr(app.state, "live", None)) is not None:
            talks.close()
        assistant.close()
        if accounts is not None:
            accounts.close()

    assistant.login = accounts is not None
    app = FastAPI(title="Lectern", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.assistant = assistant
    app.state.accounts = accounts
    server = assistant.settings.server
    lanes = Lanes(server.answers_at_once, waiting=server.queue, each=server.queue)
    assistant.busy = lambda: lanes.running + lanes.waiting > 0
    metrics, tracer = Metrics(assistant, lanes), make_tracer(assistant.settings.telemetry)
    assistant.answer_listeners.append(metrics.answered)
    if tracer is not None:
        assistant.answer_listeners.append(partial(record_answer, tracer))
    app.add_middleware(FairQueue, lanes=lanes, waited=metrics.waited)
    app.add_middleware(AccountsMiddleware, accounts=accounts)
    app.add_middleware(PatientBodies, timeout_s=assistant.settings.server.body_timeout_s)
    app.add_middleware(Guard, local_only=local_only)
    app.add_middleware(CountRequests, metrics=metrics)
    app.add_middleware(Observed, tracer=tracer)  # the last one added is the first one asked
    add_error_answers(app)
    app.include_router(accounts_router)
    app.include_router(router)
    app.include_router(sessions)
    app.include_router(live)
    app.include_router(metrics.router)
    app.get("/openapi.json", include_in_schema=False)(add_v1(app, assistant).openapi)  # where tools look for it
    app.router.routes.extend(http_app(agents).routes)  # /mcp
    app.mount("/ui", PageFiles(directory=STATIC), name="ui")
    page = build_page(
        example=EXAMPLE,
        suffixes=sorted(SUFFIXES),
        max_file_mb=assistant.settings.ingest.max_file_mb,
        speech_model=assistant.uses_omni,
        licence=assistant.licence,
    )
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=LecternTheme(),
        head=head(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        show_error=False,
        favicon_path=str(STATIC / "favicon.svg"),
    )


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a taken port is told before anything heavy is loaded. Raises UsageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            remedy="Stop what uses that port, or choose another with --port N (make app PORT=N)",
        ) from error
    return listener


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until interrupted; prints the address once the page can be opened. Raises UsageError for a taken port."""
    from web.accounts.accounts import is_local_address, open_accounts

    accounts = open_accounts(settings, host)
    listener = listen(host, port)
    import uvicorn

    from web.connections import MAX_HEADER_BYTES, patient_protocol
    from web.observe import set_up_server_logging
    from web.wiring import build

    set_up_server_logging(settings.telemetry)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
                print(f"Lectern is at http://{shown}:{listener.getsockname()[1]} (Ctrl-C stops it)", flush=True)

    # With a login a proxy on this computer may hand requests on under the name that the outside knows.
    local_only = is_local_address(host) and accounts is None
    app = build_app(build(settings), local_only=local_only, accounts=accounts)
    config = uvicorn.Config(
        app,
        log_level="warning",
        timeout_graceful_shutdown=5,
        access_log=False,
        server_header=False,
        http=patient_protocol(settings.server.header_timeout_s),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        limit_concurrency=settings.server.max_connections,
        ws_max_size=2**20,
    )
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])
    gc.freeze()  # or the collection at exit walks through every model, which takes seconds
