"""Whether the server is up, and whether its models are."""

from __future__ import annotations

from fastapi import APIRouter

from web.api import Lectern
from web.v1.schemas import Health

router = APIRouter(tags=["service"])


@router.get("/health", response_model=Health)
def health(assistant: Lectern) -> Health:
    """Is it up? `ready` says whether the first question need not wait for a model. Needs no login."""
    return Health(status="ok", ready=assistant.ready.is_set())
