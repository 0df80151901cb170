"""The description of the services: whole, valid, and what the real services answer."""

import asyncio
import copy
import json
import re
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from fidoloop.protocol import outofband
from fidoloop.protocol.jose import sign_compact
from fidoloop.server import admin
from fidoloop.server.app_links import APPLE_ASSOCIATION, ASSET_LINKS
from fidoloop.server.config import CONTEXT_PATH
from fidoloop.server.openapi.document import build_document
from fidoloop.server.openapi.jans_chip_operations import jans_chip
from fidoloop.server.openapi.operations import described
from fidoloop.server.openapi.page import render_page
from fidoloop.server.routes import make_routes
from tests.protocol.builders import AT, root
from tests.server.harness import BASE, JSON, REDEEM, UAF, Bench, running
from tests.server.oauth.browser_flow import METADATA, asking
from tests.server.oauth.client import FORM, VERIFIER, new_client, write_policy
from tests.server.oauth.test_registration import evidence
from tests.server.oauth.test_registration import nonce as nonce_for
from tests.server.passkeys import Passkey, enrolled
from tests.server.phone import Phone
from tests.server.test_targets import JOSE, change

DOCUMENT = build_document(make_routes(), base_url="https://fido.example")


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **options) as bench:
            await check(bench)

    asyncio.run(scenario())


def strictly(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas so that nothing may be said that they do not name."""
    schemas = copy.deepcopy(document["components"]["schemas"])
    for schema in schemas.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return {"schemas": schemas}


def check_against(schema: dict[str, Any], value: Any, document: dict[str, Any] = DOCUMENT) -> None:  # noqa: ANN401
    """Hold a value, and the JSON texts in it, against a schema of the document."""
    components = strictly(document)
    Draft202012Validator({**schema, "components": components}).validate(value)
    name = schema.get("$ref", "").rpartition("/")[2]
    for member, inner in components["schemas"].get(name, {}).get("properties", {}).items():
        if "contentSchema" in inner and member in value:
            check_against(inner["contentSchema"], json.loads(value[member]), document)


def check_answer(method: str, path: str, answer: httpx2.Response, document: dict[str, Any] = DOCUMENT) -> None:
    """Hold an answer against what the document says of its status."""
    operation = document["paths"][path][method.lower()]
    response = operation["responses"][str(answer.status_code)]
    content = response.get("content")
    if content is None:
        assert answer.content == b""
        return
    media = answer.headers["content-type"].partition(";")[0]
    assert media in content
    if media.endswith("json") or media.endswith("+uaf"):
        check_against(content[media]["schema"], answer.json(), document)


def test_every_route_is_described_and_every_description_has_its_route() -> None:
    routes = {(method, path) for path, methods in make_routes().items() for method in methods}
    assert set(described()) == routes
    found = {
        (method.upper(), path.replace("{id}", "*")) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert found == routes
    names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)
    with pytest.raises(KeyError):
        build_document(make_routes() | {"/new": make_routes()["/healthz"]}, base_url="")
    with pytest.raises(LookupError, match="no routes"):
        build_document({path: methods for path, methods in make_routes().items() if path != "/metrics"}, base_url="")


def test_the_document_is_openapi() -> None:
    validate(DOCUMENT)
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("description"), name


def test_what_a_service_insists_on_is_in_its_description() -> None:
    for path, methods in make_routes().items():
        for method, endpoint in methods.items():
            operation = DOCUMENT["paths"][path.replace("*", "{id}")][method.lower()]
            if endpoint.consumes:
                assert list(operation["requestBody"]["content"]) == [endpoint.consumes]
                assert "415" in operation["responses"]
            if "requestBody" in operation:
                assert "413" in operation["responses"], (method, path)
            if endpoint.credential:
                assert operation["security"] == [{"apiCredential": []}]
                assert "401" in operation["responses"]
            if endpoint.produces:
                assert "406" in operation["responses"]


def test_what_the_services_answer_is_as_described(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        seen: set[tuple[str, str, int]] = set()

        async def call(method: str, path: str, body: Any = None, **options: Any) -> Any:  # noqa: ANN401 - JSON
            template = options.pop("template", path).partition("?")[0]
            headers = options.pop("headers", {}) | (bench.api if options.pop("api", True) else {})
            content = json.dumps(body) if isinstance(body, dict) else body
            answer = await bench.client.request(method, path, content=content, headers=headers)
            assert answer.status_code == options.pop("status", 200), answer.text
            check_answer(method, template, answer)
            seen.add((method, template, answer.status_code))
            return answer.json() if answer.content.startswith(b"{") else answer.text

        async def post(path: str, body: Any, headers: dict[str, str], **options: Any) -> Any:  # noqa: ANN401 - JSON
            return await call("POST", f"{CONTEXT_PATH}{path}", body, headers=headers, **options)

        await every_service(bench, call, post)
        # And what they refuse.
        for path, methods in make_routes().items():
            for method, endpoint in methods.items():
                url, template = path.replace("*", "x"), path.replace("*", "{id}")
                media = {"content-type": endpoint.consumes, "accept": endpoint.produces}
                good = {name: value for name, value in media.items() if value}
                if endpoint.consumes:
                    await call(method, url, "x", template=template, headers=good | {"content-type": "a/b"}, status=415)
                    await call(method, url, "x" * 65537, template=template, headers=good, status=413)
                if endpoint.produces:
                    await call(method, url, "x", template=template, headers=good | {"accept": "a/b"}, status=406)
                if endpoint.credential:
                    await call(method, url, "x", template=template, headers=good, api=False, status=401)
        done = {(method, path) for method, path, status in seen if status < 300}
        missing = {(method, path.replace("*", "{id}")) for method, path in described()} - done
        # The stream is tried in test_flow: it needs a socket. What is off here, in test_jans_chip and test_app_links.
        elsewhere = {*jans_chip(), ("GET", ASSET_LINKS), ("GET", APPLE_ASSOCIATION)}
        assert missing == {("POST", f"{CONTEXT_PATH}/status/stream"), *elsewhere}

    run(tmp_path, check)


Post = Callable[..., Awaitable[Any]]


async def every_service(bench: Bench, call: Post, post: Post) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/link", "/openapi.json", "/docs", "/docs/docs.css"):
        await call("GET", path)
    await call("GET", f"{CONTEXT_PATH}/uaf/1.1/facets")
    await call("GET", f"{CONTEXT_PATH}/uaf/1.1/facets", headers={"if-none-match": "*"}, status=304)
    await call("GET", f"{CONTEXT_PATH}/web-push/key")
    phone = await every_uaf_service(bench, post)
    await every_token_service(bench, post)
    await every_target_service(bench, call, phone)
    await every_page(bench, call)
    await every_oauth_service(bench, call)
    await every_fido2_service(call)


async def every_oauth_service(bench: Bench, call: Post) -> None:
    form = {"content-type": FORM}
    await call("GET", "/.well-known/oauth-authorization-server")
    await call("GET", "/jwks")
    await call("POST", "/challenge")
    await call("POST", "/introspect", "token=x", headers=form)
    await call("POST", "/introspect", "token=x", headers=form, api=False, status=401)
    await call("POST", "/introspect", "x", headers=form, status=400)
    await call("POST", "/attester/nonce")
    await every_challenge_service(bench, call)
    await every_registration_service(bench, call)
    await every_resource(bench, call)
    client = await new_client(bench)
    redeem = {"grant_type": "authorization_code", "code": await client.code(), "code_verifier": VERIFIER}
    for path, parameters in (("/token", redeem), ("/revoke", {"token": "x"})):
        await call("POST", path, urlencode(parameters), headers=dict(client.headers(path)), api=False)
        await call("POST", path, "x", headers=form, api=False, status=400)
        await call(
            "POST",
            path,
            urlencode(redeem | parameters),
            headers=form | {"dpop": client.proof(path)},
            api=False,
            status=401,
        )


async def every_resource(bench: Bench, call: Post) -> None:
    await call("GET", "/.well-known/oauth-protected-resource/api")
    grants = {"acr": ["uaf", "uaf-hw"], "scopes": ["openid", "api"]}
    write_policy(bench, {"rules": [{"name": "any", "grants": grants}]})
    client = await new_client(bench)
    answer = await client.redeem(await client.code(acr="uaf-hw"))
    token = answer.json()["access_token"]
    for method, path, body in (("GET", "/api/whoami", None), ("POST", "/api/sign-demo", {"text": "a"})):
        await call(method, path, body, api=False, status=401)
        client.nonce = (await bench.client.request(method, path)).headers["dpop-nonce"]
        headers = {"authorization": f"DPoP {token}", "dpop": client.proof(path, method, token=token)}
        await call(method, path, body, headers=headers, api=False)


async def every_challenge_service(bench: Bench, call: Post) -> None:
    grants = {"acr": ["uaf", "fido2"], "scopes": ["openid", "api"]}
    write_policy(bench, {"rules": [{"name": "any", "grants": grants}]})
    client, passkey = await new_client(bench), await enrolled(bench)
    for path in ("/authorize-challenge", "/authz-challenge"):
        await call("POST", path, "x", headers={"content-type": FORM}, api=False, status=400)
        ask = urlencode({"acr_values": "fido2"})
        more = await call("POST", path, ask, headers=dict(client.headers(path)), api=False, status=403)
        body = {
            "client_id": client.client_id,
            "auth_session": more["auth_session"],
            "credential": passkey.get(more["fido2_options"]),
        }
        result = "/assertion/result"
        await call("POST", result, "x", api=False, status=400)
        token = await call("POST", result, body, headers={"dpop": client.proof(result)}, api=False)
        await call("POST", result, body, headers={"dpop": client.proof(result)}, api=False, status=403)
        done = urlencode({"auth_session": more["auth_session"], "fido2_token": token["fido2_token"]})
        await call("POST", path, done, headers=dict(client.headers(path)), api=False)


async def every_registration_service(bench: Bench, call: Post) -> None:
    bench.clock.now = int(AT.timestamp() * 1000)
    anchors = bench.config.oauth_directory / "anchors"
    anchors.mkdir(parents=True)
    (anchors / "factory.pem").write_bytes(root().public_bytes(Encoding.PEM))
    write_policy(bench)
    for path, nonces in (("/register", "/register"), ("/attester/attest", "/attester/nonce")):
        await call("POST", path, "x", status=400)
        await call("POST", path, {"client_name": "phone"}, status=400)
        text = await nonce_for(bench, nonces)
        body = {"evidence": evidence(bench, text, audience=BASE + path)}
        if path == "/register":
            made = await call("POST", path, body, status=201)
            own, template = f"/register/{made['client_id']}", "/register/{id}"
        else:
            await call("POST", path, body | {"client_id": made["client_id"]})
    bearer = {"authorization": f"Bearer {made['registration_access_token']}"}
    await call("GET", own, template=template, headers=bearer, api=False)
    change = {"client_id": made["client_id"]}
    await call("PUT", own, change, template=template, headers=bearer, api=False)
    await call("PUT", own, "{}", template=template, headers=bearer, api=False, status=400)
    await call("DELETE", own, template=template, headers=bearer, api=False, status=204)
    for method in ("GET", "PUT", "DELETE"):
        sent = change if method == "PUT" else None
        await call(method, own, sent, template=template, headers=bearer, api=False, status=401)


async def every_uaf_service(bench: Bench, post: Post) -> Phone:
    phone = await bench.registered(target=True)
    for op, name, context in (
        ("Reg", "registration", {"username": "mia"}),
        (
            "Auth",
            "authentication",
            {"username": "jeff", "transaction": [{"contentType": "text/plain", "content": "YQ"}]},
        ),
        ("Auth", "authentication", {}),
        ("Auth", "authentication", {"policy": "none"}),
    ):
        wanted = {"op": op, "context": json.dumps(context)}
        returned = await post(f"/uaf/1.1/request/{name}", wanted, UAF)
        if returned["statusCode"] != 1200:
            continue
        (request,) = json.loads(returned["uafRequest"])
        response = phone.register(request) if op == "Reg" else phone.authenticate(request, key=phone.keys[0])
        body: dict[str, Any] = {"uafResponse": json.dumps([response])}
        if op == "Reg":
            body["context"] = json.dumps({"dispatchTarget": phone.target("second")})
        assert (await post(f"/uaf/1.1/{name}", body, UAF))["statusCode"] == 1200
        assert (await post(f"/uaf/1.1/{name}", body, UAF))["statusCode"] == 1491
        session = request["header"]["exts"][0]["data"]
        await post("/status", {"sessionId": session}, JSON)
    gone = {"op": "Dereg", "context": '{"username":"mia","mode":"username"}'}
    assert (await post("/uaf/1.1/request/deregistration", gone, UAF))["statusCode"] == 1200
    return phone


async def every_token_service(bench: Bench, post: Post) -> None:
    contexts = {
        "registration": ("Reg", {"username": "jeff"}),
        "authentication": ("Auth", {}),
        "deregistration": ("Dereg", {"username": "jeff", "mode": "aaid", "aaids": ["ABCD#0001"]}),
    }
    for name, (op, context) in contexts.items():
        wanted = {"op": op, "context": json.dumps(context)}
        made = await post(f"/token/create/{name}", wanted, {"content-type": UAF["content-type"]})
        await post("/status", {"sessionId": made["sessionId"]}, JSON)
        await post(f"/token/redeem/{name}", {"token": made["token"]}, REDEEM)
        await post(f"/token/redeem/{name}", {"token": made["token"]}, REDEEM)
        sent = await post(f"/token/dispatch/{name}", {"getUafRequest": wanted, "dispatcher": "link"}, JSON)
        # A plain link carries no deregistration.
        assert (sent["dispatchResult"] == "dispatched") == (op != "Dereg")
        await post("/status", {"sessionId": sent.get("sessionId", "none")}, JSON)
        await post(f"/token/dispatch/{name}", {"getUafRequest": wanted, "dispatcher": "pigeon"}, JSON)
        await post(f"/token/dispatch/{name}", {"getUafRequest": wanted}, JSON, status=400)
    await post("/status", {"sessionId": "unheard of"}, JSON)


async def every_target_service(bench: Bench, call: Post, phone: Phone) -> None:
    targets = f"{CONTEXT_PATH}/token/dispatch/targets"
    made = await call("POST", targets, {"username": "mia", **phone.target("third")}, headers=JSON, status=201)
    await call("POST", targets, {"username": "mia", **phone.target("third")}, headers=JSON, status=422)
    await call("POST", targets, {"username": "nobody", **phone.target("third")}, headers=JSON, status=403)
    await call("POST", targets, {"username": 5}, headers=JSON, status=400)
    await call("GET", f"{targets}?username=mia", headers={"accept": "application/json"})
    await call("GET", f"{targets}?username=nobody", status=403)
    await call("GET", targets, status=400)
    template = f"{targets}/{{id}}"
    url = f"{targets}/{made['id']}"
    key = phone.signature_key

    async def signed(method: str, payload: dict[str, Any], **options: Any) -> None:  # noqa: ANN401 - of call
        token = sign_compact(json.dumps(payload).encode(), key)
        headers, body = (JOSE, token) if method == "PATCH" else ({"device-signature": token}, None)
        await call(method, url, body, template=template, headers=headers, api=False, **options)

    await signed("PATCH", change(bench, made["id"], "r1", name="renamed"), status=204)
    await signed("PATCH", change(bench, made["id"], "r1", name="again"), status=401)
    await signed("PATCH", change(bench, made["id"], "r2", dispatcher="pigeon"), status=422)
    await signed("PATCH", change(bench, made["id"], "r3"), status=400)
    await call("DELETE", url, template=template, api=False, status=401)
    await every_device_service(bench, call, phone)
    deletion = change(bench, made["id"], "r4", method="DELETE", path=url)
    await signed("DELETE", deletion, status=204)
    await signed("DELETE", deletion, status=404)


async def every_device_service(bench: Bench, call: Post, phone: Phone) -> None:
    members = phone.target("fourth", username="mia", deviceId="d")
    target = (await call("POST", f"{CONTEXT_PATH}/token/dispatch/targets", members, headers=JSON, status=201))["id"]
    for number, name in enumerate(("credentials", "operations")):
        template, url = (f"{CONTEXT_PATH}/devices/{name}/{device}" for device in ("{id}", "d"))

        async def ask(url: str = url, template: str = template, **options: Any) -> None:  # noqa: ANN401 - of call
            await call("GET", url, template=template, api=False, **options)

        order = change(bench, target, f"d{number}", method="GET", path=url)
        signed = {"device-signature": sign_compact(json.dumps(order).encode(), phone.signature_key)}
        await ask(headers=signed)
        await ask(headers=signed, status=401)
        await ask(headers={"device-signature": "x"}, status=400)
        await ask(headers=signed | {"accept": "text/plain"}, status=406)
        other = order | {"dispatchTargetId": "gone"}
        await ask(
            headers={"device-signature": sign_compact(json.dumps(other).encode(), phone.signature_key)}, status=404
        )
        await admin.disable_user(bench.store, "mia", now=bench.clock())
        order |= {"requestId": f"e{number}"}
        again = {"device-signature": sign_compact(json.dumps(order).encode(), phone.signature_key)}
        await ask(headers=again, status=403)
        await admin.enable_user(bench.store, "mia", now=bench.clock())


async def every_passkey_service(call: Post, post: Post) -> None:
    """What a browser does that a passkey logs in, and out again in the end."""
    passkey, spare, base = Passkey(), Passkey(), f"{CONTEXT_PATH}/fido2/attestation"
    asks = {"username": "jeff", "attestation": "none"}
    options = await call("POST", f"{base}/options", asks, headers=JSON)
    await call("POST", f"{base}/result", passkey.create(options), headers=JSON)
    await call("GET", "/web/passkeys", api=False, status=401)
    assertion = passkey.get(await post("/web/passkey/options", {}))
    await post("/web/passkey", {"credential": assertion})
    await post("/web/passkey", {"credential": assertion}, status=403)
    await call("GET", "/web/passkeys", api=False)
    await post(f"{base}/options", asks | {"username": "mia"}, status=403)
    await post(f"{base}/result", spare.create(await post(f"{base}/options", asks)))
    await post("/web/passkey/remove", {"id": spare.name}, status=204)
    await post("/web/passkey/remove", {"id": spare.name}, status=404)
    await post("/web/logout", {}, status=204)


async def every_page(bench: Bench, call: Post) -> None:
    own = JSON | {"origin": BASE}
    watching = own | {"accept": "text/event-stream"}

    async def post(path: str, body: dict[str, Any], headers: dict[str, str] = own, **options: Any) -> Any:  # noqa: ANN401
        return await call("POST", path, body, headers=headers, api=False, **options)

    for path in ("/", "/enrol"):
        await call("GET", path, api=False)
    await call("GET", "/web/static/fidoloop.css", template="/web/static/{id}", api=False)
    await call("GET", "/web/static/login.html", template="/web/static/{id}", api=False, status=404)
    for path in ("/account", "/confirm"):
        await call("GET", path, api=False, status=303)
    await post("/web/enrol", {}, status=401)
    await post("/web/enrol", {"code": "x"}, status=400)
    await post("/web/enrol/undo", {"id": "no such"}, status=403)
    await post("/web/confirm", {"text": "x"}, status=401)
    await call("GET", "/web/account", api=False, status=401)
    await call("GET", "/web/apps", api=False, status=401)
    await every_passkey_service(call, post)
    phone = await bench.registered()
    begun = await post("/web/login", {"by": "qr"})
    await post("/web/operation/status", {"id": begun["id"]})
    await post("/web/login/finish", {"id": begun["id"]}, status=403)
    content = outofband.open_payload(outofband.decode_scanned(begun["link"]), None)
    returned = await bench.redeem(content.token)
    (request,) = json.loads(returned["uafRequest"])
    assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
    await post("/web/operation/stream", {"id": begun["id"]}, watching)
    await post("/web/login/finish", {"id": begun["id"], "remember": True})
    for path in ("/account", "/confirm"):
        await call("GET", path, api=False)
    await every_authorization_service(bench, call, post)
    await call("GET", "/", api=False, status=303)
    await post("/web/confirm", {"text": "Pay 5 to mia"})
    await post("/web/confirm", {"text": "Pay 5 to mia", "device": "no such"}, status=404)
    enrolling = await post("/web/enrol", {})
    content = outofband.open_payload(outofband.decode_scanned(enrolling["link"]), None)
    returned = await bench.redeem(content.token, "registration")
    (request,) = json.loads(returned["uafRequest"])
    assert (await bench.respond("Reg", phone.register(request)))["statusCode"] == 1200
    await post("/web/operation/status", {"id": enrolling["id"]})
    await post("/web/enrol/undo", {"id": enrolling["id"]}, status=204)
    await post("/web/keys/remove", {"aaid": "x", "keyId": "y"}, status=404)
    await call("GET", "/web/account", api=False)
    await call("GET", "/web/devices", api=False)
    await post("/web/login", {"by": "push", "device": "no such"}, status=404)
    await post("/web/devices/forget", {}, status=204)
    (key,) = [key for key in (await call("GET", "/web/account", api=False))["keys"] if key["current"]]
    await post("/web/keys/remove", {"aaid": key["aaid"], "keyId": key["keyId"]}, status=204)
    await post("/web/logout", {}, status=204)
    await post("/web/login", {"by": "push"}, status=400)
    await post("/web/login", {"by": "push", "username": "mia"})
    await post("/web/login", {"by": "push", "username": "mia"}, status=429)
    await post("/web/operation/cancel", {"id": begun["id"]}, status=204)
    await post("/web/login", {"by": "qr"}, JSON, status=403)


async def every_authorization_service(bench: Bench, call: Post, post: Post) -> None:
    """With a browser that is logged in."""
    client = await new_client(bench, **METADATA)
    par = dict(client.headers("/par"))
    pushed = await call("POST", "/par", urlencode(asking(client)), headers=par, api=False, status=201)
    await call("POST", "/par", "x", headers={"content-type": FORM}, api=False, status=400)
    await call("POST", "/par", urlencode(asking(client)), headers={"content-type": FORM}, api=False, status=401)
    query = urlencode({"client_id": client.client_id, "request_uri": pushed["request_uri"]})
    await call("GET", f"/authorize?{query}", api=False)
    await call("GET", "/authorize", api=False, status=400)
    await call("GET", f"/authorize?{urlencode(asking(client, scope=None, dpop_jkt=None))}", api=False, status=303)
    opened = await post("/web/authorize", {"query": query})
    await post("/web/authorize", {"query": ""}, status=400)
    await post("/web/authorize", {"query": query}, JSON, status=403)
    await post("/web/authorize/decide", {"id": opened["id"], "allow": True}, status=403)
    await post("/web/authorize/decide", {"id": opened["id"], "allow": True, "username": opened["username"]})
    await post("/web/authorize/decide", {"id": opened["id"], "allow": False}, status=403)
    await call("GET", "/web/apps", api=False)
    await post("/web/apps/withdraw", {"client": client.client_id}, status=204)
    await post("/web/apps/withdraw", {"client": client.client_id}, status=404)


async def every_fido2_service(call: Post) -> None:
    base, jans = f"{CONTEXT_PATH}/fido2", "/jans-fido2/restv1"
    await call("GET", "/.well-known/fido2-configuration")
    for options, result, asks in (
        (f"{base}/attestation/options", base, f"{base}/attestation/options"),
        (f"{jans}/attestation/options", jans, f"{jans}/assertion/options"),
    ):
        passkey = Passkey()
        body = {"username": "jeff", "displayName": "Jeff", "extensions": {"credProps": True}}
        await call("POST", options, body, headers=JSON, api=False, status=401)
        await call("POST", options, body | {"username": "nobody"}, headers=JSON, status=403)
        creation = await call("POST", options, body, headers=JSON)
        credential = passkey.create(creation, response={"transports": ["usb"]})
        await call("POST", f"{result}/attestation/result", credential, headers=JSON, api=False, status=401)
        await call("POST", f"{result}/attestation/result", credential, headers=JSON)
        await call("POST", f"{result}/attestation/result", credential, headers=JSON, status=400)
        asked = await call("POST", asks, {"username": "jeff"}, headers=JSON, api=False)
        assertion = passkey.get(asked)
        await call("POST", f"{result}/assertion/result", assertion, headers=JSON, api=False)
        await call("POST", f"{result}/assertion/result", assertion, headers=JSON, api=False, status=400)
        for session in ("none", asked.get("fido2SessionId", "none")):
            await call("POST", f"{base}/status", {"fido2SessionId": session}, headers=JSON, api=False)


class Page(HTMLParser):
    """What a browser would load or run, and where links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids |= {value or "" for name, value in attrs if name == "id"}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_everything_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        answer = await bench.client.get("/docs/")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        page = Page(answer.text)
        assert not page.tags & {"script", "style", "img", "iframe", "object", "embed", "form", "base"}
        for name, value in page.attributes:
            assert not name.startswith("on")
            assert name != "style"
            if name in ("href", "src"):
                assert value.startswith("#") or value in ("/docs/docs.css", "/openapi.json")
        links = {value[1:] for name, value in page.attributes if name == "href" and value.startswith("#")}
        assert links <= page.ids
        for path, methods in DOCUMENT["paths"].items():
            assert path in page.text
            for operation in methods.values():
                assert operation["summary"] in page.text
        for name, schema in DOCUMENT["components"]["schemas"].items():
            assert name in page.ids
            for member in schema.get("properties", {}):
                assert member in page.text
        style = await bench.client.get("/docs/docs.css")
        assert style.headers["content-type"].startswith("text/css")
        assert not re.search(r"url\(|@import|https?:", style.text)
        assert (await bench.client.get("/openapi.json")).json()["servers"] == [{"url": "https://localhost:8443"}]

    run(tmp_path, check)


def test_what_stands_in_a_description_is_text_in_the_page() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["info"]["description"] = "<script>alert(1)</script> & `<b>`"
    document["components"]["schemas"]["Health"]["description"] = '"><img src=x>'
    page = Page(render_page(document))
    assert not page.tags & {"script", "img", "b"}
    assert "<script>alert(1)</script>" in page.text


def test_the_description_can_be_turned_off(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for path in ("/docs", "/openapi.json"):
            assert (await bench.client.get(path)).status_code == 404

    run(tmp_path, check, docs=False)
