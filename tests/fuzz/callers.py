"""Who sends requests that are made from the description of a real server: a browser and an app of a user it knows."""

import itertools
import json
import secrets
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import httpx2
from msgspec import UNSET, UnsetType

from fidoloop.bridge.http import Server
from fidoloop.bridge.oauth.app import OAuthApp
from fidoloop.bridge.oauth.loopback import REGISTERED
from fidoloop.bridge.oauth.state import AppState
from fidoloop.hsm.keystore import EcHardwareKey, KeyStore
from fidoloop.protocol.jose import public_jwk
from fidoloop.protocol.oauth.client_attestation import PopClaims, make_pop
from fidoloop.protocol.oauth.dpop import DpopClaims, access_token_hash, make_dpop_proof
from fidoloop.protocol.oauth.pkce import METHOD, code_challenge
from tests.server.harness import JSON, REDEEM, UAF
from tests.server.passkeys import Passkey
from tests.server.phone import Model, Phone
from tests.server.web.visitor import token_in

USERNAME, PASSWORD = "jeff", "correct horse battery"
_REQUEST = {
    "response_type": "code",
    "redirect_uri": REGISTERED[0],
    "scope": "api",
    "acr_values": "uaf",
    "code_challenge": code_challenge("v" * 43),
    "code_challenge_method": METHOD,
}
_numbers = itertools.count(1)


class Visitor:
    """A browser that the user is logged in at, and that remembers the user, who has a phone, a passkey and an app."""

    def __init__(self, url: str, bearer: str, model: Model, app: "App", client: httpx2.Client) -> None:
        """Enrol phone and passkey, log in, and begin what can be begun at the pages."""
        self._url, self._api = url, {"authorization": f"Bearer {bearer}"}
        self._cookies: dict[str, str] = {}
        self._client = client
        self._phone = Phone(model)
        self._register()
        passkey = self._passkey()
        begun = self._begun()
        self._post("/web/login/finish", {"id": begun, "remember": True})
        (device, *_) = self._read("/web/account")["devices"]
        self._named = {
            "id": self._post("/web/confirm", {"text": "Pay 5.00 to Bob"})["id"],
            "aaid": model.aaid,
            "keyId": self._phone.keys[0].text,
            "device": device["id"],
            "username": USERNAME,
            "text": "Pay 7.00 to Bob",
            "by": "qr",
            "query": app.query,
            "client": app.client_id,
            "allow": True,
        }
        over = self._post("/web/confirm", {"text": "Pay 6.00 to Bob"})["id"]
        self._post("/web/operation/cancel", {"id": over})
        # Of what goes on the stream does not end.
        self._ids = {
            "/web/login/finish": self._begun(),
            "/web/operation/stream": over,
            "/web/passkey/remove": passkey.name,
            "/web/enrol/undo": self._enrolled(),
            "/web/authorize/decide": self._post("/web/authorize", {"query": app.query})["id"],
        }

    def headers(self, method: str, path: str) -> dict[str, str]:
        """Return the cookies."""
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}

    def known(self, path: str) -> Mapping[str, object]:
        """Return what the browser may name at `path`."""
        return self._named | ({"id": self._ids[path]} if path in self._ids else {})

    def _register(self) -> None:
        order = {"op": "Reg", "context": json.dumps({"username": USERNAME})}
        returned = self._post("/nevisfido/uaf/1.1/request/registration", order, UAF | self._api)
        (request,) = json.loads(returned["uafRequest"])
        target = self._phone.target(f"phone {next(_numbers)}")
        body = {
            "uafResponse": json.dumps([self._phone.register(request)]),
            "context": json.dumps({"dispatchTarget": target}),
        }
        assert self._post("/nevisfido/uaf/1.1/registration", body, UAF)["statusCode"] == 1200

    def _passkey(self) -> Passkey:
        passkey, base = Passkey(), "/nevisfido/fido2/attestation"
        wanted = {"username": USERNAME, "displayName": USERNAME}
        options = self._post(f"{base}/options", wanted, JSON | self._api)
        self._post(f"{base}/result", passkey.create(options, client={"origin": self._url}), JSON | self._api)
        return passkey

    def _begun(self) -> str:
        """Begin a log-in, confirm it on the phone, and return its id."""
        begun = self._post("/web/login", {"by": "qr"})
        token = {"token": token_in(begun["link"])}
        returned = self._post("/nevisfido/token/redeem/authentication", token, REDEEM)
        (request,) = json.loads(returned["uafRequest"])
        body = {"uafResponse": json.dumps([self._phone.authenticate(request)])}
        assert self._post("/nevisfido/uaf/1.1/authentication", body, UAF)["statusCode"] == 1200
        return str(begun["id"])

    def _enrolled(self) -> str:
        """Enrol another phone from the page, and return the operation's id."""
        begun = self._post("/web/enrol", {})
        token = {"token": token_in(begun["link"])}
        returned = self._post("/nevisfido/token/redeem/registration", token, REDEEM)
        (request,) = json.loads(returned["uafRequest"])
        body = {"uafResponse": json.dumps([Phone(self._phone.model).register(request)])}
        assert self._post("/nevisfido/uaf/1.1/registration", body, UAF)["statusCode"] == 1200
        return str(begun["id"])

    def _post(self, path: str, body: object, headers: Mapping[str, str] = JSON) -> dict[str, Any]:
        answer = self._client.post(path, content=json.dumps(body), headers={**headers, **self._sent(path)})
        return self._answered(answer)

    def _read(self, path: str) -> dict[str, Any]:
        return self._answered(self._client.get(path, headers=self._sent(path)))

    def _sent(self, path: str) -> dict[str, str]:
        # Python's own cookie jars send no cookie that is Secure to a server without TLS.
        return {"origin": self._url, **self.headers("", path)} if path.startswith("/web/") else {}

    def _answered(self, answer: httpx2.Response) -> dict[str, Any]:
        assert answer.is_success, answer.text
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                self._cookies[name] = morsel.value
        self._cookies = {name: value for name, value in self._cookies.items() if value}
        return dict(answer.json()) if answer.content else {}


class _SoftwareFido:
    """The FIDO side of an app: a phone in software. Nothing of it is kept."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone

    def uaf(self, uaf_request: str) -> str:
        (request,) = json.loads(uaf_request)
        return json.dumps([self._phone.register(request)])

    def keep(self) -> None: ...

    def undo(self) -> None: ...

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


class App:
    """An OAuth client with tokens of the user's, its keys in a token."""

    def __init__(self, url: str, bearer: str, store: KeyStore, model: Model, client: httpx2.Client) -> None:
        """Register the client, and enrol the user; `bearer` is the resource's."""
        self._url, self._bearer, self._client = url, bearer, client
        with Server(url, insecure=True) as server, closing(sqlite3.connect(":memory:")) as database:
            state = AppState(database)
            app = OAuthApp(server, store, state)
            app.register("fuzz")
            app.enrol(USERNAME, PASSWORD, _SoftwareFido(Phone(model)))
            known = state.load(url)
        assert known is not None
        assert known.tokens is not None
        self._app, self._tokens = known, known.tokens
        self._instance, self._dpop = (_key(store, one) for one in (known.instance_key_id, known.dpop_key_id))
        self._spent, self._api_nonce = False, ""
        asked = client.get("/api/whoami", headers=self._bound("GET", "/api/whoami"))
        self._api_nonce = asked.headers["dpop-nonce"]

    @property
    def client_id(self) -> str:
        """What the server calls it."""
        return self._app.client_id

    @property
    def query(self) -> str:
        """An authorization request, to be opened by a browser."""
        members = {**_REQUEST, "client_id": self.client_id, "dpop_jkt": public_jwk(self._dpop.public_key()).thumbprint}
        return urlencode(members)

    def is_live(self) -> bool:
        """Tell whether it is registered, and has tokens that nobody used up or revoked."""
        registration = f"/register/{self.client_id}"
        return not self._spent and self._client.get(registration, headers=self.headers("GET", registration)).is_success

    def headers(self, method: str, path: str) -> dict[str, str]:
        """Return what proves that the app sends this, fresh each time."""
        if path.startswith("/api/"):
            return self._bound(method, path)
        if path.startswith("/register/"):
            return {"Authorization": f"Bearer {self._app.registration_token}"}
        if path == "/introspect":
            return {"Authorization": f"Bearer {self._bearer}"}
        fresh = self._client.post("/challenge")
        pop = PopClaims(self._url, secrets.token_urlsafe(16), int(time.time()), fresh.json()["attestation_challenge"])
        return {
            "OAuth-Client-Attestation": self._app.attestation,
            "OAuth-Client-Attestation-PoP": make_pop(self._instance, pop),
            "DPoP": self._proof(method, path, nonce=fresh.headers["dpop-nonce"]),
        }

    def known(self, path: str) -> Mapping[str, object]:
        """Return what the app may name."""
        self._spent |= path.endswith(("/token", "/revoke"))
        return {
            "id": self.client_id,
            "client_id": self.client_id,
            "token": self._tokens.access_token,
            "refresh_token": self._tokens.refresh_token,
            "grant_type": "refresh_token",
            "text": "hello",
            **_REQUEST,
        }

    def _bound(self, method: str, path: str) -> dict[str, str]:
        token = self._tokens.access_token
        proof = self._proof(method, path, nonce=self._api_nonce or UNSET, ath=access_token_hash(token))
        return {"Authorization": f"DPoP {token}", "DPoP": proof}

    def _proof(self, method: str, path: str, *, nonce: str | UnsetType, ath: str | UnsetType = UNSET) -> str:
        jti, now = secrets.token_urlsafe(16), int(time.time())
        return make_dpop_proof(self._dpop, DpopClaims(jti, method, f"{self._url}{path}", now, ath, nonce))


def _key(store: KeyStore, key_id: bytes) -> EcHardwareKey:
    key = store.key(key_id)
    assert isinstance(key, EcHardwareKey)
    return key
