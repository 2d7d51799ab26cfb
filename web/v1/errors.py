"""One error shape for everything under /v1, whatever went wrong and wherever.

    {"error": {"message", "remedy", "type", "code", "param"}}

`message` says what happened and `remedy` what to do next; `code` is for programs and stable; `param` names the field of
the request that is at fault, or is null; `type` is OpenAI's coarser word for it. On the endpoints of OpenAI's clients,
which show the message alone, the remedy stands in the message, too.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from core.errors import AccessError, AudioError, DocumentError, LecternError, NotFoundError, StoreError, UsageError

log = logging.getLogger(__name__)

OPENAI_PATHS = ("/v1/chat/", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/audio/", "/v1/models")

_BY_KIND: list[tuple[type[LecternError], int]] = [
    (NotFoundError, 404),
    (UsageError, 400),
    (AccessError, 403),
    (DocumentError, 422),
    (AudioError, 422),
    (StoreError, 409),
]
_CODES = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "unprocessable",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal",
    503: "unavailable",
}
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_REMEDIES = {
    404: "GET /v1/openapi.json names every address",
    405: "The Allow header names the methods of this address",
    413: "Send less at once",
}


class ErrorDetail(BaseModel):
    message: str = Field(description="what happened, to which document, page or field")
    remedy: str = Field(description="what to do next; may be empty")
    type: str = Field(description="OpenAI's word for the kind of failure")
    code: str = Field(description="stable word for programs")
    param: str | None = Field(None, description="the field at fault")


class ErrorBody(BaseModel):
    """What every failure answers with."""

    error: ErrorDetail

    model_config = {
        "json_schema_extra": {
            "example": {
                "error": {
                    "message": "There is no workspace 'leese' (there are: default, lease).",
                    "remedy": "Create it with PUT /v1/workspaces/leese.",
                    "type": "not_found_error",
                    "code": "not_found",
                    "param": None,
                }
            }
        }
    }


class ApiError(LecternError):
    """A failure of the request itself, with its own status, code and field."""

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        status: int = 400,
        code: str = "",
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.code = code or _CODES.get(status, "error")
        self.param = param
        self.headers = headers


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: these statuses carry the error shape, as do 400 and 422 of any request."""
    described = {
        400: "The request is malformed",
        404: "No such workspace, document, page or session",
        409: "The store is in another state than this needs",
        413: "Larger than the limit",
        415: "Another content type is needed",
        422: "Understood, but it cannot be used",
        429: "Too many questions are waiting: Retry-After says when to come back",
        503: "A model is not there or cannot be reached",
    }
    return {status: {"model": ErrorBody, "description": described[status]} for status in {400, 422, *statuses}}


def refusals() -> dict[int | str, dict[str, Any]]:
    """`responses=` of every route: what a login adds."""
    return {
        401: {"model": ErrorBody, "description": "There is a login, and no valid key or session was sent"},
        403: {"model": ErrorBody, "description": "Your role does not allow this"},
    }


def error_response(
    path: str,
    status: int,
    message: str,
    remedy: str = "",
    *,
    code: str = "",
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The answer to a failed request for `path`; for middleware outside of the API, too."""
    message, remedy = _sentence(message), _sentence(remedy)
    if path.startswith(OPENAI_PATHS) and remedy:
        message = f"{message} {remedy}"
    default = "invalid_request_error" if status < 500 else "server_error"
    detail = ErrorDetail(
        message=message,
        remedy=remedy,
        type=_TYPES.get(status, default),
        code=code or _CODES.get(status, "error"),
        param=param,
    )
    return JSONResponse({"error": detail.model_dump()}, status, headers=headers)


def status_of(error: LecternError) -> int:
    """The HTTP status that an error of ours stands for; errors may bring their own as `status`."""
    own = getattr(error, "status", None)
    if isinstance(own, int):
        return own
    return next((status for kind, status in _BY_KIND if isinstance(error, kind)), 503)


def answer_to(path: str, error: Exception) -> JSONResponse:
    """The answer to any failure: ours as it says itself, others as 500 without a word of the inside."""
    if isinstance(error, LecternError):
        headers = getattr(error, "headers", None) or {}
        retry_after_s = getattr(error, "retry_after_s", None)
        if retry_after_s is not None:
            headers = {"Retry-After": str(max(1, round(retry_after_s))), **headers}
        return error_response(
            path,
            status_of(error),
            error.message,
            error.remedy,
            code=getattr(error, "code", ""),
            param=getattr(error, "param", None),
            headers=headers,
        )
    return error_response(
        path, 500, "Something went wrong inside Lectern", "Try again; the log of the server says more"
    )


def error_detail(path: str, error: Exception) -> dict[str, Any]:
    """The same as the content of {"error": ...}, for a stream that has begun already."""
    import json

    return json.loads(bytes(answer_to(path, error).body))["error"]


def add_v1_errors(app: FastAPI) -> None:
    """Translate every failure under /v1 here, once."""

    @app.exception_handler(LecternError)
    async def ours(request: Request, error: LecternError) -> JSONResponse:
        workspace = request.path_params.get("workspace")
        if isinstance(error, NotFoundError) and error.message.startswith("there is no workspace") and workspace:
            # The store's words name its folder and commands: callers of an API have addresses.
            remedy = f"GET /v1/workspaces names those that there are; PUT /v1/workspaces/{workspace} creates it"
            error = NotFoundError(f"there is no workspace {workspace!r}", remedy=remedy)
        return answer_to(request.url.path, error)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        path = request.url.path
        problems = error.errors()
        if problems and problems[0]["loc"] == ("body",) and problems[0]["type"] in _NOT_READ_AS_JSON:
            sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if sent != "application/json" and not sent.endswith("+json"):
                wanted = "Send the body as JSON, with the header Content-Type: application/json"
                return error_response(path, 415, f"the content type {sent or '(none)'} is not read here", wanted)
        where, what = _told(problems[0]) if problems else ("", "the request is malformed")
        unparsed = any(problem["type"] == "json_invalid" for problem in problems)
        status = 400 if unparsed or path.startswith(OPENAI_PATHS) else 422
        message = f"{where}: {what}" if where else what
        return error_response(path, status, message, "Correct the request", code="invalid_request", param=where or None)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        said = str(error.detail)
        if error.status_code == 404 and said == "Not Found":
            said = f"there is nothing at {request.url.path}"
        elif error.status_code == 405:
            said = f"{request.method} is not understood at {request.url.path}"
        remedy = _REMEDIES.get(error.status_code, "")
        return error_response(request.url.path, error.status_code, said, remedy, headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def anything(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s", request.method, request.url.path, exc_info=error)
        return answer_to(request.url.path, error)


_NOT_READ_AS_JSON = ("model_attributes_type", "missing", "dict_type", "model_type")


def _told(problem: Any) -> tuple[str, str]:
    """(field, what is wrong with it) of one of pydantic's problems; the value itself is not repeated."""
    parts = [str(part) for part in problem["loc"] if part not in ("body", "query", "path", "header")]
    if problem["type"] == "json_invalid":
        return "", f"the body is no JSON: {problem.get('ctx', {}).get('error', 'it cannot be parsed')}"
    return ".".join(parts), str(problem["msg"]).removeprefix("Value error, ")


def _sentence(text: str) -> str:
    text = text.strip()
    if text[:1].islower() and text.partition(" ")[0].isalpha():  # not a file's name, nor a field's
        text = text[:1].upper() + text[1:]
    return text if not text or text.endswith((".", "!", "?")) else text + "."
