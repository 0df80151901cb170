"""No secret that crosses is ever kept or shown: every service is called, and all that the lab serves is searched."""

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import strictjson
from fidoloop.server.config import CONTEXT_PATH
from fidoloop.server.lab.access import COOKIE
from fidoloop.server.lab.changes import listed
from fidoloop.server.lab.decoding import readable
from fidoloop.server.lab.redaction import HIDDEN, UNKNOWN, redact
from fidoloop.server.lab.stories import Message
from fidoloop.server.store.lab_queries import NEWEST_SESSIONS
from tests.server.harness import Bench
from tests.server.lab.visitor import LabVisitor, in_the_lab, lab_of
from tests.server.test_openapi import every_service
from tests.server.test_tokens import dispatch, target_of

HEADERS = ("authorization", "cookie", "dpop", "device-signature", "oauth-client-attestation-pop", "set-cookie")
_NAMES = """token link qr response code access_token refresh_token auth_session password client_assertion
registration_access_token target code_verifier data nma_data"""
MEMBERS = frozenset(_NAMES.split())
NAMES = [*_NAMES.split(), "uafRequest", "context", "fcParams", "assertion", "header", "statusCode", "content"]
FORM = "application/x-www-form-urlencoded"
SHORTEST = 8
"""What is shorter than that could be found anywhere."""


class Secrets:
    """Every secret that crossed, by the name of what bore it."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = defaultdict(set)

    async def asked(self, request: httpx2.Request) -> None:
        self._headers(request.headers)
        self._body(request.content, request.headers.get("content-type", ""))

    async def answered(self, answer: httpx2.Response) -> None:
        await answer.aread()
        self._headers(answer.headers)
        self._body(answer.content, answer.headers.get("content-type", ""))

    def _headers(self, headers: httpx2.Headers) -> None:
        for name in HEADERS:
            for value in headers.get_list(name):
                secret = value.partition("=")[2].partition(";")[0] if "cookie" in name else value.rpartition(" ")[2]
                self.found[name].add(secret)

    def _body(self, body: bytes, media: str) -> None:
        if media.startswith(FORM):
            pairs: Any = dict(parse_qsl(body.decode()))
        elif body.startswith(b"{"):
            pairs = json.loads(body)
        else:
            if media.startswith("application/jose"):
                self.found["jose"].add(body.decode())
            return
        for name, value in self._texts("", pairs):
            self.found[name].add(value)
            for _, payload in parse_qsl(urlsplit(value).query) if "://" in value else ():
                self.found["payload"].add(payload)

    def _texts(self, name: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            is_extension = "fail_if_unknown" in value
            for member, inner in value.items():
                if not (is_extension and member == "data"):
                    yield from self._texts(member if name not in {"data", "nma_data"} else name, inner)
        elif isinstance(value, list):
            for inner in value:
                yield from self._texts(name, inner)
        elif isinstance(value, str) and name in MEMBERS:
            yield name, value
        elif isinstance(value, str) and value.startswith(("{", "[")):
            yield from self._texts(name, json.loads(value))


async def all_that_is_served(bench: Bench, visitor: LabVisitor) -> str:
    lab = lab_of(bench)
    sessions = await listed(bench.environment, lab)
    texts = [strictjson.encode(sessions), (await visitor.get("/lab")).text, json.dumps(await visitor.overview())]
    for session_id in ["", *(row.id for row in await bench.store.fetch_all(NEWEST_SESSIONS, limit=1000))]:
        texts.append((await visitor.post("/lab/session", {"id": session_id})).text)
    return "\n".join(texts)


def test_no_secret_of_any_service_is_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with in_the_lab(tmp_path) as (bench, visitor):
            secrets = Secrets()
            bench.client.event_hooks = {"request": [secrets.asked], "response": [secrets.answered]}

            async def call(method: str, path: str, body: Any = None, **options: Any) -> Any:  # noqa: ANN401 - JSON
                headers = options.pop("headers", {}) | (bench.api if options.pop("api", True) else {})
                content = json.dumps(body) if isinstance(body, dict) else body
                answer = await bench.client.request(method, path, content=content, headers=headers)
                return answer.json() if answer.content.startswith(b"{") else answer.text

            async def post(path: str, body: Any, headers: dict[str, str], **options: Any) -> Any:  # noqa: ANN401 - JSON
                return await call("POST", f"{CONTEXT_PATH}{path}", body, headers=headers, **options)

            await every_service(bench, call, post)
            phone = await bench.registered("mia")
            request = await bench.uaf_request("Reg", {"username": "jeff"})
            context = {"dispatchTarget": phone.target("third", target="where the phone is", dispatcher="link")}
            answer = await bench.respond("Reg", phone.register(request), context)
            assert answer["statusCode"] == 1200, answer
            information = {"data": {"note": "only for the phone"}}
            target = await target_of(bench, phone)
            await dispatch(bench, dispatcher="link", dispatchTargetId=target, dispatchInformation=information)
            await dispatch(bench, dispatcher="link", dispatchInformation=information)
            served = await all_that_is_served(bench, visitor)
            bearing = {
                name for name, values in secrets.found.items() if any(len(value) >= SHORTEST for value in values)
            }
            assert bearing >= {*HEADERS, "token", "link", "qr", "response", "code", "access_token", "data", "payload"}
            assert bearing >= {"refresh_token", "auth_session", "registration_access_token", "target", "jose"}
            lab = lab_of(bench)
            secrets.found["lab"] = {lab.access.token, visitor.client.cookies[COOKIE], bench.bearer}
            for name, values in secrets.found.items():
                for value in (value for value in values if len(value) >= SHORTEST):
                    assert value not in served, name
                    assert base64.urlsafe_b64encode(value.encode()).decode().rstrip("=") not in served, name
            assert '"uafResponse"' in served, "something was recorded"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "media", "kept"),
    [
        (b'{"token":"t0p-secret"}', "application/json", {"token": HIDDEN}),
        (b'{"t0p-secret":1,"statusCode":1200}', "application/fido+uaf", {UNKNOWN: HIDDEN, "statusCode": 1200}),
        (b'{"a":{"statusCode":"t0p-secret"}}', "application/json", {UNKNOWN: HIDDEN}),
        (b'"t0p-secret"', "application/json", HIDDEN),
        (b'["t0p-secret", 1]', "application/json", [HIDDEN, HIDDEN]),
        (b"t0p-secret", "application/json", "[10 bytes that are no such message]"),
        (b"t0p-secret", "text/plain", "[10 bytes that are no such message]"),
        (b"", "", None),
        (b"a.t0p-secret.c", "application/jose", HIDDEN),
        (
            b"grant_type=password&password=t0p-secret&scope=openid&state=t0p-secret",
            FORM,
            {"grant_type": "password", "password": HIDDEN, "scope": "openid", UNKNOWN: HIDDEN},
        ),
        (b'{"context":"{\\"dispatchTarget\\":{\\"target\\":\\"t0p-secret\\"}}"}', "application/json", None),
        (b'{"dispatcherInformation":{"name":"link","response":"t0p-secret"}}', "application/json", None),
        (b'{"data":"t0p-secret","content":"t0p-secret"}', "application/json", {"data": HIDDEN, "content": HIDDEN}),
        (b'{"assertion":"t0p-secret"}', "application/json", {"assertion": HIDDEN}),
        (b'{"channelLinking":{"content":"t0p-secret"}}', "application/json", {"channelLinking": HIDDEN}),
        (b'{"statusCode":99999999999999999999}', "application/json", {"statusCode": HIDDEN}),
        (b'{"username":["a", true, null]}', "application/json", {"username": ["a", True, None]}),
        (b'{"description":"t0p-secret"}', "application/json", None),
    ],
)
def test_what_is_not_known_to_be_harmless_is_hidden(body: bytes, media: str, kept: object) -> None:
    found = redact(body, media=media)
    assert "t0p-secret" not in json.dumps(found)
    if kept is not None:
        assert found == kept


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=4),
    max_leaves=20,
)
TEXTS = JSON.map(lambda value: json.dumps(value, ensure_ascii=False).encode())


@given(TEXTS | st.binary(max_size=200), st.sampled_from(["application/json", "application/jose", FORM, "a/b"]))
def test_whatever_comes_can_be_kept_and_shown(body: bytes, media: str) -> None:
    kept = redact(body, media=media)
    message = Message(0, "POST", "/x", 200, kept, None)
    assert json.loads(strictjson.encode(readable(message)))["path"] == "/x"


def test_texts_in_texts_are_followed_so_deep_only() -> None:
    text = '{"message":"t0p-secret"}'
    for _ in range(3):
        text = json.dumps({"context": text})
    assert redact(text.encode(), media="application/json") == {"context": {"context": {"context": HIDDEN}}}
