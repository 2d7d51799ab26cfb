"""Trying to reach one workspace from another: by its name in every disguise, by ids, through caches, through errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from conftest import VAULT_SECRET
from fastapi.testclient import TestClient

LogIn = Callable[..., TestClient]
SECRETS = ("heliotrope", "vault.txt", "/lectern", "/tmp/")  # text, a document's name, where the home is

DISGUISES = [
    "vault",
    "VAULT",
    "Vault",
    "vault ",
    " vault",
    "vault.",
    "./vault",
    "vault/",
    "//vault",
    "lease/../vault",
    "lease/../../workspaces/vault",
    "../vault",
    "..\\vault",
    "lease\\..\\vault",
    "lease%2F..%2Fvault",
    "%2e%2e%2fvault",
    "va%75lt",
    "vault%00",
    "lease\x00vault",
    "vault\u200b",
    "\uff56\uff41\uff55\uff4c\uff54",  # full width: the same under NFKC
    "va\u00adult",
    "vaul\u0074\u0307",
    "lease;vault",
    "lease,vault",
    "lease?workspace=vault",
    "*",
    "%",
    "_",
    "vault' OR '1'='1",
    "lease/people/user-1",
    "default",
    "vault::$DATA",
    "." * 200,
    "v" * 5000,
]


def assert_nothing_of_it(response: Any) -> None:
    text = response.text
    assert response.status_code in (400, 403, 404, 405, 414, 422), (response.request.url, response.status_code, text)
    assert not [secret for secret in SECRETS if secret in text], (response.request.url, text)


@pytest.mark.parametrize("encoded_once_more", [False, True])
@pytest.mark.parametrize("name", DISGUISES)
def test_a_workspace_cannot_be_reached_under_another_name(log_in: LogIn, name: str, encoded_once_more: bool) -> None:
    """As the router sees it and with one more layer of per cent signs, in /api and /v1."""
    mia = log_in("mia")
    part = quote(name, safe="" if encoded_once_more else "/%")
    if encoded_once_more:
        part = quote(part, safe="")
    for base in ("/api", "/v1"):
        assert_nothing_of_it(mia.get(f"{base}/workspaces/{part}/documents"))
    assert_nothing_of_it(mia.get(f"/api/workspaces/{part}/page?document=vault.txt"))
    assert_nothing_of_it(
        mia.post(f"/api/workspaces/{part}/search", json={"question": "What is the code of the vault?"})
    )


def test_nor_by_a_second_name_beside_the_first(log_in: LogIn) -> None:
    """A query or header that names another workspace is checked as well, so that no route can be led astray by it."""
    mia = log_in("mia")
    for query in ("workspace=vault", "workspace=lease&workspace=vault", "workspace=%76ault"):
        assert_nothing_of_it(mia.get(f"/api/workspaces/lease/documents?{query}"))
    assert_nothing_of_it(mia.get("/api/workspaces/lease/documents", headers={"X-Lectern-Workspace": "vault"}))


def test_documents_are_not_found_by_the_other_workspaces_ids(log_in: LogIn) -> None:
    """Document ids, chunk ids and file names of the vault, used where one may ask."""
    anna, mia = log_in("anna"), log_in("mia")
    document = anna.get("/api/workspaces/vault/documents").json()["documents"][0]
    hit = anna.post("/api/workspaces/vault/search", json={"question": "the code of the vault"}).json()["hits"][0]
    for identity in (document["document_id"], document["name"], hit["chunk_id"], "../../vault/files/vault.txt"):
        for path in ("/api/workspaces/lease/page", "/api/workspaces/lease/page/image"):
            response = mia.get(path, params={"document": identity})
            assert response.status_code == 404 and "heliotrope" not in response.text
        deleted = mia.delete("/api/workspaces/lease/documents", params={"document": identity})
        assert deleted.status_code == 404
        assert mia.get(f"/v1/workspaces/lease/documents/{quote(identity, safe='')}").status_code == 404
    assert len(anna.get("/api/workspaces/vault/documents").json()["documents"]) == 1


def test_caches_do_not_carry_answers_across(log_in: LogIn) -> None:
    """The same question, asked first by those who may read the vault, in both orders and over both interfaces."""
    anna, mia = log_in("anna"), log_in("mia")
    question = {"question": "What is the code of the vault?"}
    for _ in range(2):
        told = anna.post("/api/workspaces/vault/ask", json=question)
        assert "heliotrope" in told.text
        for base in ("/api", "/v1"):
            asked = mia.post(f"{base}/workspaces/lease/ask", json=question)
            found = mia.post(f"{base}/workspaces/lease/search", json=question)
            assert asked.status_code == found.status_code == 200
            assert "heliotrope" not in asked.text + found.text


def test_lists_and_errors_name_no_other_workspace(log_in: LogIn) -> None:
    """Neither lists nor the words of a refusal tell what else there is; absent and forbidden read the same."""
    mia = log_in("mia")
    assert mia.get("/api/workspaces").json() == {"workspaces": ["lease"]}
    assert mia.get("/v1/workspaces").json()["workspaces"] == ["lease"]
    forbidden, absent = (mia.get(f"/api/workspaces/{name}/documents") for name in ("vault", "nowhere"))
    assert forbidden.text.replace("vault", "nowhere") == absent.text and forbidden.status_code == absent.status_code


def test_models_and_bodies_name_ones_own_workspaces_only(log_in: LogIn) -> None:
    """OpenAI's interface: the workspace is the model's name, in the body, where no path can be checked."""
    mia = log_in("mia")
    assert "vault" not in mia.get("/v1/models").text
    messages = [{"role": "user", "content": "What is the code of the vault?"}]
    for model in ("vault", "VAULT", "lease/../vault", "lectern/vault", "vault\u0000"):
        body = {"model": model, "messages": messages}
        assert_nothing_of_it(mia.post("/v1/chat/completions", json=body))
        assert_nothing_of_it(mia.post("/v1/chat/completions", json={**body, "stream": True}))
    assert VAULT_SECRET not in mia.post("/v1/chat/completions", json={"model": "lease", "messages": messages}).text


def test_uploads_stay_in_their_workspace(log_in: LogIn) -> None:
    """A file name that walks out of its folder becomes a plain name; one may upload only where one is a member."""
    mia, anna = log_in("mia"), log_in("anna")
    for name in ("../../../vault/inbox/x.txt", "..\\..\\vault\\y.txt", "/etc/passwd.txt", "vault/z.txt"):
        answer = mia.put("/api/workspaces/lease/documents", params={"name": name}, content="text of mia")
        assert answer.status_code == 202 and "/" not in answer.json()["name"] and "\\" not in answer.json()["name"]
    assert mia.put("/api/workspaces/vault/documents", params={"name": "a.txt"}, content="x").status_code == 404
    names = [row["name"] for row in anna.get("/api/workspaces/vault/documents").json()["documents"]]
    assert names == ["vault.txt"]
