"""What the services of the lab console answer is as described."""

import asyncio
from pathlib import Path
from typing import Any

from fidoloop.server.lab.routes import lab_routes
from fidoloop.server.openapi.document import build_document
from fidoloop.server.openapi.lab_operations import lab_operations
from fidoloop.server.routes import make_routes
from tests.server.harness import BASE, JSON
from tests.server.lab.visitor import in_the_lab, lab_of
from tests.server.test_openapi import check_answer
from tests.server.web.visitor import answer_link, token_in, visiting

DOCUMENT = build_document(make_routes(lab=True), base_url=BASE, lab=True)


def test_what_the_lab_answers_is_as_described(tmp_path: Path) -> None:
    assert set(lab_operations()) == {(method, path) for path, methods in lab_routes().items() for method in methods}

    async def scenario() -> None:
        async with in_the_lab(tmp_path) as (bench, visitor):
            seen: set[tuple[str, str, int]] = {("POST", "/lab/enter", 204)}

            async def call(method: str, path: str, body: Any = None, status: int = 200) -> Any:  # noqa: ANN401 - JSON
                headers = JSON | {"origin": BASE}
                answer = await visitor.client.request(method, path, json=body, headers=headers)
                assert answer.status_code == status, answer.text
                check_answer(method, path, answer, DOCUMENT)
                seen.add((method, path, status))
                return answer.json() if answer.headers.get("content-type") == "application/json" else None

            phone = await bench.registered(target=True)
            assert (await visitor.get("/lab")).headers["content-type"].startswith("text/html")
            made = await call("POST", "/lab/session/new", {})
            for fault in ("wrongKey", "replay", "clockSkew"):
                await call("POST", "/lab/session/fault", {"id": made["id"], "fault": fault, "minutes": 5})
            await answer_link(bench, made["link"], phone)
            await call("POST", "/lab/session/fault", {"id": made["id"], "fault": "expiredToken"}, 409)
            await call("POST", "/lab/session/fault", {"id": "none", "fault": "expiredToken"}, 404)
            await call("POST", "/lab/session/fault", {"id": "none", "fault": "none"}, 400)
            await call("POST", "/lab/session/new", {"device": "none"}, 503)
            await call("POST", "/lab/session", {"id": made["id"]})
            await call("POST", "/lab/session", {"id": ""})
            await call("GET", "/lab/overview")
            await call("POST", "/lab/enter", {"token": lab_of(bench).access.token}, 403)
            await call("POST", "/lab/leave", {}, 204)
            await call("GET", "/lab/overview", None, 401)
            done = {(method, path) for method, path, status in seen if status < 300}
            # The page is one of text, and the stream needs a socket: it is tried in a browser.
            assert set(lab_operations()) - done == {("GET", "/lab"), ("POST", "/lab/stream")}
            assert token_in(made["link"])
            async with visiting(bench) as other:
                answer = await other.post("/lab/session", {"id": ""})
                check_answer("POST", "/lab/session", answer, DOCUMENT)

    asyncio.run(scenario())
