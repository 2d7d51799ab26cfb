"""Hashing passwords and API keys with scrypt (RFC 7914), as it comes with Python.

A hash reads `scrypt$N$r$p$salt$key`, so that the cost can be raised later: `outdated` tells which to hash anew.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading

from core.errors import UsageError

COST, BLOCK, LANES = 2**15, 8, 3  # 32 MiB and about 0.2 s: one of the equal choices of OWASP's password storage sheet
SHORTEST, LONGEST = 10, 1024  # characters; longer ones only cost time
_TOO_COMMON = (  # of the length that is asked for, without spaces
    "1234567890 12345678910 0123456789 1111111111 qwertyuiop qwerty12345 1q2w3e4r5t abcdefghij password123 "
    "password1234 passwordpassword administrator letmein123 iloveyou123 lecternlectern changeme123"
)
_AT_ONCE = threading.BoundedSemaphore(2)  # a flood of logins shall not take the memory that answers need


def hash_secret(secret: str) -> str:
    salt = secrets.token_bytes(16)
    return "$".join(["scrypt", str(COST), str(BLOCK), str(LANES), _text(salt), _text(_derive(secret, salt, COST))])


def matches(secret: str, hashed: str) -> bool:
    """Whether `secret` is the one that was hashed; takes equally long either way."""
    _, cost, block, lanes, salt, key = hashed.split("$")
    derived = _derive(secret[:LONGEST], _bytes(salt), int(cost), int(block), int(lanes))
    return hmac.compare_digest(derived, _bytes(key))


def outdated(hashed: str) -> bool:
    return int(hashed.split("$")[1]) < COST


def check_password(password: str, name: str) -> None:
    """Raises UsageError for one that is too easy to guess."""
    folded = password.casefold()
    reason = ""
    if len(password) < SHORTEST:
        reason = f"it is shorter than {SHORTEST} characters"
    elif len(password) > LONGEST:
        reason = f"it is longer than {LONGEST} characters"
    elif folded in _TOO_COMMON.split() or len(set(folded)) < 4:
        reason = "it is among the first that anybody tries"
    elif name.casefold() in folded and len(folded) - len(name) < 6:
        reason = "it is little more than the name"
    if reason:
        raise UsageError(f"this password cannot be taken: {reason}", remedy="Choose another, such as four random words")


def _derive(secret: str, salt: bytes, cost: int, block: int = BLOCK, lanes: int = LANES) -> bytes:
    with _AT_ONCE:
        return hashlib.scrypt(
            secret.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=block, p=lanes, maxmem=256 * 2**20, dklen=32
        )


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes(value: str) -> bytes:
    return base64.b64decode(value)
