"""The pages of the accounts: logging in, which needs no script, and the admins' page, whose script is ours alone."""

from __future__ import annotations

import html

from fastapi.responses import HTMLResponse

from core.errors import LecternError

# Stricter than the page's own: nothing here is Gradio's, so no script or style stands in the document itself.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/ui/favicon.svg">
<link rel="stylesheet" href="/ui/lectern.css">
<link rel="stylesheet" href="/ui/accounts.css">
</head>
"""

_BRAND = (
    '<svg class="lec-icon" viewBox="0 0 24 24" aria-hidden="true"><path d="M4 5.5A2.5 2.5 0 0 1 6.5 3H20v15H6.5A2.5 '
    '2.5 0 0 0 4 20.5zM4 20.5A2.5 2.5 0 0 0 6.5 21H20v-3M9 7.5h7M9 11h5"/></svg><span>Lectern</span>'
)

_LOGIN = (
    _HEAD.format(title="Log in · Lectern")
    + """<body class="lec-plain">
<main class="lec-root lec-login">
<form method="post" action="/login">
<h1 class="lec-login-brand">"""
    + _BRAND
    + """</h1>
<p>Your documents are kept here for you and those you share them with.</p>
{error}<input type="hidden" name="next" value="{next}">
<label for="name">Name</label>
<input class="lec-input" id="name" name="name" value="{name}" autocomplete="username" autocapitalize="none"
 spellcheck="false" maxlength="64" required{focus_name}>
<label for="password">Password</label>
<input class="lec-input" id="password" name="password" type="password" autocomplete="current-password"
 maxlength="1024" required{focus_password}>
<button type="submit" class="lec-button lec-button-main">Log in</button>
</form>
</main>
</body>
</html>
"""
)

ACCOUNTS_PAGE = (
    _HEAD.format(title="Users and keys · Lectern")
    + """<body class="lec-plain">
<main class="lec-root lec-accounts" id="accounts"><p class="lec-loading">One moment…</p></main>
<script type="module" src="/ui/accounts.js"></script>
</body>
</html>
"""
)


def login_page(*, next: str, name: str = "", error: LecternError | None = None) -> HTMLResponse:
    """The form; with `error` it says why the last attempt failed, with that error's status."""
    said = ""
    if error is not None:
        sentence = f"{error.message[:1].upper()}{error.message[1:]}. {error.remedy}."
        said = f'<p class="lec-login-error" role="alert">{html.escape(sentence)}</p>\n'
    page = _LOGIN.format(
        error=said,
        next=html.escape(next, quote=True),
        name=html.escape(name, quote=True),
        focus_name="" if name else " autofocus",
        focus_password=" autofocus" if name else "",
    )
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(page, getattr(error, "status", 200), headers)
