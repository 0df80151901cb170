"""Log lines: one per request where that is asked for, each with the request's id, none with a secret."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fidoloop.server.environment import Environment
from fidoloop.server.errors import StoreError
from fidoloop.server.http.dispatch import Endpoint
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.logs import log_handler
from fidoloop.server.routes import make_routes
from fidoloop.server.settings.declared import LogFormat
from tests.server.harness import JSON, REDEEM, UAF, Bench, running, session_id_of

SECRET = "s3cr3t-0123456789abcdef"
FORMATS: list[LogFormat] = ["plain", "json"]


@contextmanager
def logged(format_: LogFormat) -> Iterator[io.StringIO]:
    """Collect what the server would write to standard error."""
    stream = io.StringIO()
    handler = log_handler(format_, stream)
    root = logging.getLogger("fidoloop")  # not the client's lines
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, access_log=True, **options) as bench:
            await check(bench)

    asyncio.run(scenario())


async def get(bench: Bench, request_id: str | None = None, path: str = "/healthz") -> httpx2.Response:
    return await bench.client.get(path, headers={b"x-request-id": request_id.encode("latin-1")} if request_id else {})


def test_a_sane_request_id_is_kept_and_any_other_replaced(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for sane in ("01234567", "4bf92f3577b34da6a3ce929d0e0e4736", "a.b-c_d.", "x" * 64):
            assert (await get(bench, sane)).headers["x-request-id"] == sane
        made = set()
        for other in (None, "short", "x" * 65, "with blank", "semi;colon", "new\tline", "quote\"'<>", "utf-8-\xe9\xe9"):
            answer = await get(bench, other)
            made.add(answer.headers["x-request-id"])
            assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", answer.headers["x-request-id"]), other
        assert len(made) == 8
        assert "x-request-id" in (await get(bench, path="/nowhere")).headers

    run(tmp_path, check)


def test_every_line_of_a_request_has_its_id(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        wrong = {"op": "Auth", "context": json.dumps({"policy": "unheard_of"})}
        ids = [f"request-{number}" for number in range(20)]
        calls = [
            bench.client.post(
                "/nevisfido/uaf/1.1/request/authentication", json=wrong, headers=UAF | {"x-request-id": one}
            )
            for one in ids
        ]
        with logged("json") as stream:
            await asyncio.gather(*calls)
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        by_id = {one: [line["logger"] for line in lines if line.get("requestId") == one] for one in ids}
        assert by_id == {one: ["fidoloop.server.http", "fidoloop.access"] for one in ids}
        # What is logged outside of a request has none.
        with logged("json") as stream:
            logging.getLogger("fidoloop.test").warning("between")
        assert "requestId" not in json.loads(stream.getvalue())

    run(tmp_path, check)


def test_an_access_line_says_what_was_asked_and_how_it_ended(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        with logged("json") as stream:
            await bench.request("Auth", {})
            await get(bench, path=f"/nevisfido/{SECRET}")
        first, second = (json.loads(line) for line in stream.getvalue().splitlines())
        wanted = {
            "method": "POST",
            "path": "/nevisfido/uaf/1.1/request/authentication",
            "status": 200,
            "uafStatus": 1200,
            "address": "127.0.0.1",
        }
        assert {name: first[name] for name in wanted} == wanted
        assert first["millis"] >= 0
        assert (second["path"], second["status"], second["uafStatus"]) == (None, 404, None)
        with logged("plain") as stream:
            await get(bench, "request-1")
        assert re.search(r"INFO fidoloop\.access \[request-1\]: GET /healthz 200 - [0-9.]+ms 127", stream.getvalue())

    run(tmp_path, check)


async def feed(bench: Bench) -> None:
    """Have every service meet secrets wherever a caller can put them."""
    headers = {
        "authorization": f"Bearer {SECRET}",
        "cookie": f"a={SECRET}",
        "device-signature": SECRET,
        "user-agent": SECRET,
        "x-request-id": f"<{SECRET}>",
        "x-forwarded-for": SECRET,
    }
    names = ("op", "context", "token", "sessionId", "uafResponse", "username", "dispatcher", "statusCode", SECRET)
    bodies: list[Any] = [SECRET, f'"{SECRET}', json.dumps(SECRET), json.dumps(dict.fromkeys(names, SECRET))]
    bodies += [json.dumps({"op": op, "context": json.dumps({SECRET: 1, "username": 5})}) for op in ("Reg", "Auth")]
    bodies += [json.dumps({"op": "Auth", "context": SECRET}), json.dumps({"token": SECRET, "op": {SECRET: SECRET}})]
    bodies.append(json.dumps({"uafResponse": json.dumps([{"header": {"op": SECRET, "upv": SECRET}}])}))
    for path, methods in make_routes().items():
        for method, endpoint in methods.items():
            media = {"content-type": endpoint.consumes or SECRET, "accept": endpoint.produces or SECRET}
            for body in bodies:
                url = f"{path.replace('*', SECRET)}?username={SECRET}"
                await bench.client.request(method, url, content=body, headers=headers | media)
    # And those that a good caller sends.
    phone = await bench.registered(target=True)
    request = await bench.uaf_request("Auth", {"username": "jeff"})
    response = phone.authenticate(request)
    for _ in range(2):
        await bench.respond("Auth", response, {SECRET: SECRET})
    request["challenge"] = SECRET
    await bench.respond("Auth", phone.authenticate(request))
    await bench.post("/status", {"sessionId": session_id_of(request)}, JSON)
    await bench.post("/token/redeem/authentication", {"token": SECRET}, REDEEM)


@pytest.mark.parametrize("format_", FORMATS)
def test_no_secret_is_ever_logged(tmp_path: Path, format_: LogFormat) -> None:
    async def check(bench: Bench) -> None:
        with logged(format_) as stream:
            await feed(bench)
        lines = stream.getvalue()
        assert lines.count("fidoloop.access") > 100
        assert lines.count("refused") > 10
        assert SECRET not in lines
        assert bench.bearer.partition(".")[2] not in lines

    run(tmp_path, check)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("error", [ValueError(SECRET), KeyError(SECRET)])
def test_an_unexpected_error_is_logged_by_kind_and_place(tmp_path: Path, format_: LogFormat, error: Exception) -> None:
    async def broken(environment: Environment, request: Request) -> Response:
        try:
            raise LookupError(SECRET)
        except LookupError:
            raise error from None

    async def check(bench: Bench) -> None:
        with logged(format_) as stream:
            answer = await get(bench, "request-1", path="/broken")
        assert answer.status_code == 500
        assert SECRET not in answer.text + stream.getvalue()
        assert "request-1" in stream.getvalue()
        assert type(error).__name__ in stream.getvalue()
        assert re.search(r"test_logs\.py:\d+ in broken", stream.getvalue())

    run(tmp_path, check, routes=make_routes() | {"/broken": {"GET": Endpoint(handler=broken)}})


def test_what_a_database_says_is_one_line_a_request(tmp_path: Path) -> None:
    async def broken(environment: Environment, request: Request) -> Response:
        raise StoreError("disk I/O error")

    async def check(bench: Bench) -> None:
        with logged("plain") as stream:
            assert (await get(bench, "request-1", path="/broken")).status_code == 503
        (line,) = [line for line in stream.getvalue().splitlines() if "ERROR" in line]
        assert "request-1" in line
        assert "disk I/O error" in line

    run(tmp_path, check, routes=make_routes() | {"/broken": {"GET": Endpoint(handler=broken)}})


def test_an_error_tells_what_led_to_it() -> None:
    with logged("plain") as stream:
        try:
            try:
                int(SECRET)
            except ValueError as error:
                raise StoreError("the database is gone") from error
        except StoreError:
            logging.getLogger("fidoloop.test").exception("unexpected")
    lines = stream.getvalue().splitlines()
    assert lines[1] == "fidoloop.server.errors.StoreError: the database is gone"
    assert "builtins.ValueError" in lines
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("format_", FORMATS)
def test_what_a_refusal_quotes_makes_no_line_of_its_own(format_: LogFormat) -> None:
    with logged(format_) as stream:
        logging.getLogger("fidoloop.server.http").info("refused: %s", "x\n2026-01-01 ERROR forged\r\x1b[2J\u2028")
    (line,) = stream.getvalue().splitlines()
    assert "forged" in line
    assert "\x1b" not in line
