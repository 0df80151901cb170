"""A real server, sent what schemathesis makes of its own description."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fidoloop.demo_oauth import demo_policy
from fidoloop.hsm.open import open_key_store
from fidoloop.lab import LabServer
from fuzz.openapi import Fuzzing
from tests.fuzz.callers import PASSWORD, USERNAME, App, Visitor
from tests.server.harness import write_metadata
from tests.server.phone import full_model, surrogate_model
from tests.server.process import serving

EXAMPLES = 8
"""Of right and of wrong requests each, for each operation."""
BEHIND = {
    "GET /web/account": 200,
    "GET /web/apps": 200,
    "GET /web/passkeys": 200,
    "POST /web/confirm": 200,
    "POST /web/keys/remove": 204,
    "POST /web/passkey/remove": 204,
    "POST /web/login/finish": 200,
    "POST /web/operation/cancel": 204,
    "POST /web/operation/stream": 200,
    "POST /web/enrol/undo": 204,
    "POST /web/logout": 204,
    "POST /web/authorize/decide": 200,
    "POST /web/apps/withdraw": 204,
    "GET /api/whoami": 200,
    "GET /register/{id}": 200,
    "DELETE /register/{id}": 204,
    "POST /token": 200,
    "POST /revoke": 200,
    "POST /introspect": 200,
    "POST /par": 201,
    "POST /authorize-challenge": 403,
}
"""What is answered to those only who are behind a log-in, or known as an app."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def fuzzing(home: Path, fidoloop_token: str) -> Iterator[Fuzzing]:
    """A server that knows a user, whose browsers and apps are the callers."""
    model = full_model()
    write_metadata(home, model, surrogate_model())
    lab = LabServer(home, tls=False)
    lab.add_user(USERNAME)
    lab.set_password(USERNAME, PASSWORD)
    lab.write_device_policy(demo_policy())
    bearer = lab.add_api_key("fuzz")
    with (
        serving(home, "--insecure", log=home / "log") as (url, _),
        open_key_store(fidoloop_token) as store,
        httpx2.Client(base_url=url) as client,
    ):
        apps: list[App] = []

        def app() -> App:
            """The last app while it is known: to make one takes longer than to fuzz an operation."""
            if not apps or not apps[-1].is_live():
                apps.append(App(url, bearer, store, model, client))
            return apps[-1]

        def visitor() -> Visitor:
            return Visitor(url, bearer, model, app(), client)

        yield Fuzzing(url, bearer, {"Pages": visitor, "OAuth": app})


def test_every_answer_is_one_that_the_description_names(fuzzing: Fuzzing, home: Path) -> None:
    found = list(fuzzing.faults(examples=EXAMPLES))
    assert not found, "\n".join(found)
    assert "Traceback" not in (home / "log").read_text("utf-8")
    missed = {label for label, status in BEHIND.items() if status not in fuzzing.answered.get(label, set())}
    assert not missed, {label: fuzzing.answered.get(label) for label in missed}


def test_a_description_that_is_wrong_is_found(fuzzing: Fuzzing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks can fail: a status left out of the document is a fault."""

    def with_only(status: str, method: str, path: str) -> list[str]:
        def take_out(document: dict[str, Any]) -> None:
            operation = document["paths"][path][method.lower()]
            operation["responses"] = {status: operation["responses"][status]}

        monkeypatch.setattr("fuzz.openapi._take_apart", take_out)
        return list(fuzzing.faults(examples=3, only=f"{method} {path}"))

    for operation in (("200", "GET", "/nevisfido/token/dispatch/targets"), ("401", "GET", "/web/account")):
        assert any("UndefinedStatusCode" in fault for fault in with_only(*operation)), operation
