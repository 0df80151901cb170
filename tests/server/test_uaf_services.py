"""What every service answers alike: no other origin's page reads it, and an internal error says nothing of itself."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fidoloop.server.config import CONTEXT_PATH
from fidoloop.server.errors import StoreError
from fidoloop.server.http.dispatch import Routes
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.routes import make_routes
from tests.server.harness import UAF, running

SECRET = "a word that nobody may read"


def test_no_service_lets_pages_of_other_origins_read_its_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as bench:
            for path, methods in make_routes().items():
                for method in (*methods, "OPTIONS"):
                    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"} | bench.api
                    url = path.replace("*", "x")
                    answer = await bench.client.request(method, url, content=b"{}", headers=headers)
                    assert not [name for name in answer.headers if name.startswith("access-control-")], (method, path)
                    assert method != "OPTIONS" or answer.status_code == 405

    asyncio.run(scenario())


@pytest.mark.parametrize(("error", "status"), [(RuntimeError(SECRET), 200), (StoreError(SECRET), 503)])
@pytest.mark.parametrize(
    ("service", "in_words"),
    [("request/authentication", False), ("registration", True), ("authentication", True)],
)
def test_an_internal_error_is_1500_and_says_nothing_of_itself(
    tmp_path: Path, service: str, in_words: bool, error: Exception, status: int
) -> None:
    async def fail(environment: object, request: Request) -> Response:
        raise error

    path = f"{CONTEXT_PATH}/uaf/1.1/{service}"
    routes: Routes = make_routes()
    routes[path] = {method: replace(endpoint, handler=fail) for method, endpoint in routes[path].items()}

    async def scenario() -> None:
        async with running(tmp_path, routes=routes) as bench:
            answer = await bench.client.post(path, content=b"{}", headers=UAF)
            assert (answer.status_code, answer.headers.get("retry-after")) == (status, "2" if status == 503 else None)
            assert answer.json()["statusCode"] == 1500
            assert SECRET not in answer.text
            if in_words:
                words = "database" if status == 503 else "log"
                assert words in json.loads(answer.json()["description"])["message"]

    asyncio.run(scenario())
