"""The app: registers itself by evidence of its hardware, enrols and logs in by FIDO, calls, refreshes, logs out.

The walk of OAuth contract 8; first-party authorization by RFC drafts as the server's contract names them.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from fidoloop.bridge.errors import BridgeError
from fidoloop.bridge.http import Answer, Server
from fidoloop.bridge.oauth import loopback, web
from fidoloop.bridge.oauth.errors import NotEnrolledError, OAuthRefusedError
from fidoloop.bridge.oauth.id_tokens import verify_id_token
from fidoloop.bridge.oauth.state import App, AppState, Tokens
from fidoloop.bridge.oauth.transport import Transport, accepted, error_code, members_of
from fidoloop.hsm.errors import KeyGone
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.oauth.device_evidence import make_device_evidence
from fidoloop.protocol.oauth.message_hash import PreviousMessage
from fidoloop.protocol.oauth.pkce import METHOD, code_challenge

REGISTER, ATTEST, ATTEST_NONCE = "/register", "/attester/attest", "/attester/nonce"
CHALLENGE, TOKEN, REVOKE = "/authorize-challenge", "/token", "/revoke"
SCOPE: Final = "openid api"
INSTANCE, DPOP = "fidoloop app instance", "fidoloop app DPoP"
_MORE = frozenset({"insufficient_authorization", "authorization_required"})
_RENEW = frozenset({"use_fresh_attestation"})
_EARLY_SECONDS: Final = 10


class Fido(Protocol):
    """The FIDO side of the phone, as far as the app needs it."""

    def uaf(self, uaf_request: str) -> str:
        """Carry out a UAF request (a JSON text); return the response. What it made is kept by `keep`, or undone."""
        ...

    def keep(self) -> None:
        """Keep the key that was made."""
        ...

    def undo(self) -> None:
        """Undo what was made, which no server took."""
        ...

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Make a passkey by these options; return the credential."""
        ...

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Sign by a passkey; return the credential."""
        ...


class LoggedIn(NamedTuple):
    """Who is logged in, by which acr, for what."""

    username: str
    acr: str
    scope: str
    fresh: bool


Observer = Callable[[str, str], None]


class OAuthApp:
    """The app at one server. Errors are BridgeError; KeyStoreError from the token."""

    def __init__(
        self,
        server: Server,
        store: KeyStore,
        state: AppState,
        *,
        observer: Observer = lambda name, detail: None,
    ) -> None:
        """Take the connection, the open token and where the app keeps what it knows."""
        self._server, self._store, self._state, self._observe = server, store, state, observer
        self._transports: dict[tuple[bytes, bytes], Transport] = {}
        self._sent_hash = ""

    def register(self, name: str = "fidoloop phone") -> App:
        """Register the app: two keys in the token, and evidence about the instance's key.

        Nothing is left in the token where the server refuses.

        Raises:
            OAuthRefusedError: bad_attestation and others.
        """
        known = self._state.load(self._server.base_url)
        if known is not None:
            return known
        ids = os.urandom(16), os.urandom(16)
        made: list[bytes] = []
        try:
            for key_id, label in zip(ids, (INSTANCE, DPOP), strict=True):
                self._store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=key_id, label=label)
                made.append(key_id)
            transport = self._transport_of(*ids)
            stale = transport.json("POST", REGISTER, {"client_name": name})
            if error_code(stale) != "stale_evidence":
                accepted(stale)
            evidence = self._evidence(ids[0], str(members_of(stale)["nonce"]), REGISTER, name)
            body = {
                "client_name": name,
                "application_type": "native",
                "token_endpoint_auth_method": "attest_jwt_client_auth",
                "redirect_uris": list(loopback.REGISTERED),
                "jwks": {"keys": [jose.public_jwk(_ec(self._store, ids[0]).public_key()).members]},
                "evidence": evidence,
            }
            found = accepted(transport.json("POST", REGISTER, body), 201)
        except BaseException:
            for key_id in made:
                self._store.delete(key_id)
            raise
        app = App(
            self._server.base_url,
            str(found["client_id"]),
            str(found["registration_access_token"]),
            *ids,
            str(found["client_attestation"]),
        )
        self._state.save(app)
        self._observe("registered", f"client {app.client_id}, its key attested by the server's attester")
        return app

    def enrol(self, username: str, password: str, fido: Fido, *, passkey: bool = False, scope: str = SCOPE) -> LoggedIn:
        """Enrol a FIDO key with the account's password, and take the tokens that come of it.

        Raises:
            OAuthRefusedError: a wrong password, or what the server says.
        """
        app = self.register()
        extra = {"username": username, "password": password}

        def prove(step: dict[str, Any]) -> dict[str, str]:
            if passkey:
                return {"attestation_result_request": json.dumps(fido.create(step["fido2_options"]))}
            return {"uaf_response": fido.uaf(str(step["uaf_request"]))}

        return self._authorize(app, {"acr_values": "pw-enroll", "scope": scope, **extra}, prove, fido)

    def login(
        self, acr: str, fido: Fido, *, scope: str = SCOPE, force: bool = False, browser: web.Browser | None = None
    ) -> LoggedIn:
        """Log in, unless there is an id_token for that acr which is still good (the seed's loop).

        With acr `web`, and whatever else the server will have so, in `browser`; that takes no more than a registration.

        Raises:
            NotEnrolledError: the app is not registered there; OAuthRefusedError: what the server says;
            UserDeclinedError: the person at the browser said no, or did not come back.
        """
        by_browser = browser is not None and web.ACR in acr.split()
        app = self.register() if by_browser else self._app()
        tokens = app.tokens
        if not force and tokens is not None and _does(tokens.acr, acr) and tokens.id_token_expires_at > time.time():
            return LoggedIn(tokens.username, tokens.acr, tokens.scope, fresh=False)

        def prove(step: dict[str, Any]) -> dict[str, str]:
            if "fido2_options" in step:
                return {"assertion_result_request": json.dumps(fido.get(step["fido2_options"]))}
            return {"uaf_response": fido.uaf(str(step["uaf_request"]))}

        asked = {"acr_values": acr, "scope": scope}
        if by_browser:
            self._ensure_way_back(app)
        elif tokens is not None and tokens.auth_session is not None:
            try:
                return self._authorize(app, asked | {"auth_session": tokens.auth_session}, prove, fido, browser)
            except OAuthRefusedError as error:
                if error.error != "invalid_session":
                    raise
        return self._authorize(app, asked, prove, fido, browser)

    def call(self, method: str, path: str, body: object = None) -> Answer:
        """Call a protected resource of the server; an access token that is over is refreshed first.

        Raises:
            NotEnrolledError: there are no tokens; OAuthRefusedError: the refresh is refused.
        """
        app = self._app()
        tokens = self._tokens(app)
        if tokens.expires_at <= time.time() + _EARLY_SECONDS:
            tokens = self.refresh()
        return self._transport(app).resource(method, path, tokens.access_token, body)

    def refresh(self) -> Tokens:
        """Exchange the refresh token. Raises OAuthRefusedError, NotEnrolledError."""
        app = self._app()
        tokens = self._tokens(app)
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token, "client_id": app.client_id}
        found = accepted(self._form(app, TOKEN, form), 200)
        fresh = _tokens_of(found, tokens.acr, tokens.username, tokens.auth_session, id_token=tokens)
        self._state.save(msgspec.structs.replace(self._app(), tokens=fresh))
        return fresh

    def logout(self) -> None:
        """Revoke the tokens and forget them; the registration stays. Raises OAuthRefusedError."""
        app = self._app()
        tokens = self._tokens(app)
        accepted(self._form(app, REVOKE, {"token": tokens.refresh_token, "client_id": app.client_id}), 200)
        self._state.save(msgspec.structs.replace(self._app(), tokens=None))

    def unregister(self) -> None:
        """Delete the client at the server, its keys in the token, and what is known of it here."""
        app = self._app()
        answer = self._transport(app).json("DELETE", f"{REGISTER}/{app.client_id}", bearer=app.registration_token)
        if answer.status != 401:  # it is gone there already
            accepted(answer, 204)
        for key_id in (app.instance_key_id, app.dpop_key_id):
            try:
                self._store.delete(key_id)
            except KeyGone:
                self._observe("gone", "a key of the app was no more in the token")
        self._state.forget(app.base_url)

    def _authorize(
        self,
        app: App,
        asked: dict[str, str],
        prove: Callable[[dict[str, Any]], dict[str, str]],
        fido: Fido,
        browser: web.Browser | None = None,
    ) -> LoggedIn:
        verifier, nonce, state = (base64url.encode(os.urandom(32)) for _ in range(3))
        pkce = {"code_challenge": code_challenge(verifier), "code_challenge_method": METHOD}
        first = {"response_type": "code", "client_id": app.client_id, "nonce": nonce, **asked, **pkce}
        if browser is not None:
            first |= {"redirect_uri": browser.redirect_uri, "state": state}
        answer = self._form(app, CHALLENGE, first)
        redeem = {"grant_type": "authorization_code", "client_id": app.client_id, "code_verifier": verifier}
        if error_code(answer) == web.REDIRECT_TO_WEB and browser is not None:
            redeem["redirect_uri"] = browser.redirect_uri
            redeem["code"], previous = self._by_browser(app, first, members_of(answer), browser)
            return self._redeem(app, first, redeem, previous, None)
        if error_code(answer) not in _MORE:
            accepted(answer)
        step = members_of(answer)
        self._observe("challenged", f"acr {step.get('acr_values', '')}")
        second = {"client_id": app.client_id, "auth_session": str(step["auth_session"]), **prove(step)}
        try:
            done = accepted(self._form(app, CHALLENGE, second), 200)
        except BridgeError:
            fido.undo()
            raise
        fido.keep()
        self._observe("authorized", "a code, for this session and this key")
        redeem["code"] = str(done["authorization_code"])
        previous = PreviousMessage("authz-challenge", "sha-256", self._sent_hash)
        session = done.get("auth_session")
        return self._redeem(app, first, redeem, previous, None if session is None else str(session))

    def _by_browser(
        self, app: App, asked: dict[str, str], step: dict[str, Any], browser: web.Browser
    ) -> tuple[str, PreviousMessage]:
        """Return the code that a browser brings, and which request it answers.

        The server may have kept the request (FiPA 5.2.2); where it did not, it is pushed.
        """
        previous = PreviousMessage("authz-challenge", "sha-256", self._sent_hash)
        if "request_uri" not in step:
            key = jose.public_jwk(_ec(self._store, app.dpop_key_id).public_key())
            step = accepted(self._form(app, web.PAR, asked | {"dpop_jkt": key.thumbprint}), 201)
            previous = PreviousMessage("par", "sha-256", self._sent_hash)
        base = self._server.base_url
        self._observe("redirected", f"to a browser, which comes back to {browser.redirect_uri}")
        answer = browser.visit(web.authorize_url(base, app.client_id, str(step["request_uri"])), asked["state"])
        code = web.code_in(answer, issuer=base)
        self._observe("authorized", "a code, by a browser, for this key")
        return code, previous

    def _redeem(
        self, app: App, asked: dict[str, str], form: dict[str, str], previous: PreviousMessage, session: str | None
    ) -> LoggedIn:
        """Exchange the code of `form` for what was asked, and keep it; `session` is for a step-up later."""
        found = accepted(self._form(app, TOKEN, form, previous), 200)
        claims = self._id_claims(app, str(found["id_token"]), asked["nonce"]) if "id_token" in found else {}
        tokens = _tokens_of(found, str(claims.get("acr", asked["acr_values"])), str(claims.get("sub", "")), session)
        self._state.save(msgspec.structs.replace(self._app(), tokens=tokens))
        self._observe("tokens", f"DPoP-bound, scope {tokens.scope}")
        return LoggedIn(tokens.username, tokens.acr, tokens.scope, fresh=True)

    def _ensure_way_back(self, app: App) -> None:
        """Register where a browser comes back to, if an earlier registration did not."""
        transport, path = self._transport(app), f"{REGISTER}/{app.client_id}"
        registered = accepted(transport.json("GET", path, bearer=app.registration_token), 200)
        changed = web.with_way_back(registered, loopback.REGISTERED)
        if changed is not None:
            accepted(transport.json("PUT", path, changed, bearer=app.registration_token), 200)

    def _form(self, app: App, path: str, parameters: dict[str, str], previous: PreviousMessage | None = None) -> Answer:
        """Send a form as the client; an attestation that is too old is renewed once, by fresh evidence."""
        transport = self._transport(app)
        answer = transport.form(path, parameters, app.attestation, previous)
        if error_code(answer) in _RENEW:
            renewed = self._attested(app)
            answer = transport.form(path, parameters, renewed.attestation, previous)
        self._sent_hash = transport.last_hash
        return answer

    def _attested(self, app: App) -> App:
        """Return the app with a new attestation, which the attester gave for fresh evidence."""
        transport = self._transport(app)
        nonce = accepted(transport.json("POST", ATTEST_NONCE), 200)
        evidence = self._evidence(app.instance_key_id, str(nonce["nonce"]), ATTEST, "fidoloop phone")
        found = accepted(transport.json("POST", ATTEST, {"client_id": app.client_id, "evidence": evidence}), 200)
        renewed = msgspec.structs.replace(app, attestation=str(found["client_attestation"]))
        self._state.save(renewed)
        self._observe("attested", "anew, by fresh evidence")
        return renewed

    def _evidence(self, key_id: bytes, nonce: str, path: str, name: str) -> str:
        raw = base64url.decode(nonce, "nonce")
        return make_device_evidence(
            _ec(self._store, key_id),
            self._store.attest(key_id, raw),
            nonce=nonce,
            audience=self._server.base_url + path,
            now=int(time.time()),
            token_id=base64url.encode(os.urandom(16)),
            app_name=name,
        )

    def _id_claims(self, app: App, id_token: str, nonce: str) -> dict[str, Any]:
        answer = self._server.send("GET", f"{self._server.base_url}/jwks", headers={"Accept": "application/json"})
        keys = accepted(answer, 200).get("keys", [])
        expected = {"iss": self._server.base_url, "aud": app.client_id, "nonce": nonce}
        return verify_id_token(id_token, keys, expected=expected)

    def _app(self) -> App:
        app = self._state.load(self._server.base_url)
        if app is None:
            raise NotEnrolledError("the app is not registered at that server")
        return app

    @staticmethod
    def _tokens(app: App) -> Tokens:
        if app.tokens is None:
            raise NotEnrolledError("the app has no tokens of that server: nobody is logged in")
        return app.tokens

    def _transport(self, app: App) -> Transport:
        return self._transport_of(app.instance_key_id, app.dpop_key_id)

    def _transport_of(self, instance: bytes, dpop: bytes) -> Transport:
        found = self._transports.get((instance, dpop))
        if found is None:
            found = Transport(self._server, instance_key=_ec(self._store, instance), dpop_key=_ec(self._store, dpop))
            self._transports[instance, dpop] = found
        return found


def _does(acr: str, asked: str) -> bool:
    """Tell whether a log-in by `acr` is one that was asked for."""
    return acr == asked or (web.ACR in asked.split() and acr != "pw-enroll")


def _ec(store: KeyStore, key_id: bytes) -> EcHardwareKey:
    key = store.key(key_id)
    assert isinstance(key, EcHardwareKey)
    return key


def _tokens_of(
    found: dict[str, Any], acr: str, username: str, auth_session: str | None, *, id_token: Tokens | None = None
) -> Tokens:
    if found.get("token_type") != "DPoP":
        raise OAuthRefusedError(200, "invalid_token_type", "the tokens are not bound to the key")
    text = found.get("id_token")
    expires = id_token.id_token_expires_at if id_token is not None else 0
    if isinstance(text, str):
        expires = int(strictjson.loads(jose.parse_compact(text).payload)["exp"])
    return Tokens(
        access_token=str(found["access_token"]),
        refresh_token=str(found["refresh_token"]),
        scope=str(found.get("scope", "")),
        acr=acr,
        username=username,
        expires_at=int(time.time()) + int(found.get("expires_in", 0)),
        id_token=text if isinstance(text, str) else (id_token.id_token if id_token else None),
        id_token_expires_at=expires,
        auth_session=auth_session,
    )
