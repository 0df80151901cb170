"""The OAuth demonstration: a phone's app and three roles of a server in ten steps, message by message.

OAuth contract 8: attested registration, enrolment and log-in by FIDO, tokens bound to a key, what a thief is told.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from fidoloop.authenticator.user_verification import TokenPin
from fidoloop.bridge.http import Answer, Exchange, Recorder, Server
from fidoloop.bridge.oauth.app import OAuthApp
from fidoloop.bridge.oauth.errors import OAuthRefusedError
from fidoloop.bridge.oauth.fido import PhoneFido
from fidoloop.bridge.oauth.state import App, AppState, Tokens
from fidoloop.bridge.oauth.transport import Transport, accepted, error_code, members_of
from fidoloop.bridge.passkeys import Passkeys
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import parse_key_store_uri
from fidoloop.lab import LabServer
from fidoloop.protocol.evidence.values import EvidenceKind, Tier
from fidoloop.traffic import Party, SentMessage, Traffic, both
from fidoloop.watched_store import WatchedStore

USERNAME, PASSWORD = "alice", "a password for enrolment only"
GRANTS: Final = {"acr": ["pw-enroll", "uaf", "uaf-hw", "fido2", "fido2-hw"], "scopes": ["openid", "api"]}
RELOAD_SECONDS: Final = 5.0
STEPS: Final = (
    "The app asks to be registered, and gets a nonce for its evidence",
    "Evidence about the app's key: the client is registered, the attester's attestation delivered with it",
    "A challenge for the proofs of possession, a nonce for the DPoP proofs",
    "The password, once: what FIDO key is to be made",
    "The key is made in the token: a code, for this session and this key",
    "The code against tokens that are bound to the app's key",
    "The protected API; and the same token shown as a bearer token",
    "What needs hardware: a stronger authentication is asked for",
    "Refreshed by the same key; by another one; and after the device policy changed",
    "Introspection by the resource, revocation and deletion by the client",
)


class OAuthStep(msgspec.Struct, frozen=True):
    """One step, whether it came out as it must, and the exchanges in it."""

    n: int
    name: str
    as_expected: bool
    detail: str
    exchanges: tuple[Exchange, ...]


class OAuthDemo:
    """One run over an open key store and a running lab server; `say` is told of every step as it happens."""

    def __init__(
        self,
        store: KeyStore,
        lab: LabServer,
        *,
        keys_uri: str,
        pin: str,
        say: Callable[[OAuthStep], None],
        say_message: Callable[[SentMessage], None] = lambda _message: None,
    ) -> None:
        """Take what the demonstration runs on; the user types `pin`."""
        self._traffic = Traffic(say_message)
        store = WatchedStore(store, self._traffic)
        self._store, self._lab, self._say, self._pin = store, lab, say, pin
        self._exchanges: list[Exchange] = []
        self._steps: list[OAuthStep] = []
        self._stack = ExitStack()
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fidoloop-demo-")))
        profile = Profile(self._directory / "phone" / "demo.sqlite")
        self._stack.callback(profile.close)
        uri = parse_key_store_uri(keys_uri).without_pin()
        profile.create(keys_uri=uri, verification="pin", ca=str(lab.ca))
        self._profile = profile
        self._mac_key_id = b"fidoloop:demo-mac:" + os.urandom(8)
        self._verifier = TokenPin(store, lambda _request, _tries: pin)
        self._phone = self._stack.enter_context(
            Phone(
                profile,
                store,
                self._verifier,
                confirm=lambda _token: True,
                recorder=self._recorder(Party.PHONE),
                mac_key_id=self._mac_key_id,
            )
        )
        self._server = self._stack.enter_context(Server(lab.url, ca=lab.ca, recorder=self._recorder(Party.PHONE)))
        self._app = OAuthApp(self._server, store, AppState(profile.database))

    def run(self) -> tuple[OAuthStep, ...]:
        """Run the ten steps and return them.

        Raises:
            BridgeError, KeyStoreError: a step did not go through.
        """
        try:
            self._lab.add_user(USERNAME)
            self._lab.set_password(USERNAME, PASSWORD)
            self._registration()
            self._enrolment()
            self._api()
            self._step_up()
            self._refreshing()
            self._end()
            return tuple(self._steps)
        finally:
            self._leave_nothing()

    def _leave_nothing(self) -> None:
        try:
            for account in self._phone.accounts():
                self._phone.remove(account)
            with suppress(KeyStoreError):  # none where the token has no HMAC
                self._store.delete(self._mac_key_id)
        finally:
            self._stack.close()

    def _recorder(self, party: Party) -> Recorder:
        return both(self._exchanges.append, self._traffic.recorder(party))

    def _registration(self) -> None:
        self._app.register("fidoloop demo")
        first, second = self._exchanges[:1], self._exchanges[1:]
        self._done(1, first[0].status == 400, "stale_evidence, and the nonce that evidence must be for", first)
        tier = self._tier()
        words = (
            "signed by the device"
            if tier is Tier.ATTESTED
            else "claims that nobody signed: this lab's policy lets them in"
        )
        self._done(2, second[-1].status == 201, f"evidence of tier {tier}: {words}", second)

    def _enrolment(self) -> None:
        start = len(self._exchanges)
        headers = {"Accept": "application/json"}
        challenge = self._server.send("POST", f"{self._server.base_url}/challenge", headers=headers)
        fresh = "attestation_challenge" in members_of(challenge) and "dpop-nonce" in challenge.headers
        self._done(3, fresh, "every other answer brings them too", self._since(start))
        start = len(self._exchanges)
        with self._fido() as fido:
            done = self._app.enrol(USERNAME, PASSWORD, fido)
        asked, answered = [one for one in self._since(start) if one.path == "/authorize-challenge"]
        token = next(one for one in self._since(start) if one.path == "/token")
        self._done(4, asked.status == 403, "insufficient_authorization, and two ways on: UAF or a passkey", [asked])
        self._done(5, answered.status == 200, f"{done.username}'s UAF key was made in the token", [answered])
        self._done(6, token.status == 200, "with prev_msg, the hash of the request that the code answered", [token])

    def _api(self) -> None:
        start = len(self._exchanges)
        answer = self._app.call("GET", "/api/whoami")
        token = self._tokens().access_token
        stolen = self._server.send(
            "GET", f"{self._server.base_url}/api/whoami", headers={"Authorization": f"Bearer {token}"}
        )
        right = answer.status == 200 and stolen.status == 401
        self._done(
            7,
            right,
            f"{members_of(answer).get('username')}; as a bearer token: {error_code(stolen)}",
            self._since(start),
        )

    def _step_up(self) -> None:
        start = len(self._exchanges)
        weak = self._app.call("POST", "/api/sign-demo", {"text": "hello"})
        with self._fido() as fido:
            try:
                acr = self._app.login("uaf-hw", fido, force=True).acr
                outcome = (
                    f"logged in anew by {acr}: {self._app.call('POST', '/api/sign-demo', {'text': 'hello'}).status}"
                )
            except OAuthRefusedError as error:
                outcome = f"{error.error}: the model of this token's keys does not claim hardware"
        right = error_code(weak) == "insufficient_user_authentication"
        self._done(8, right, f"acr pw-enroll is not enough; {outcome}", self._since(start))

    def _refreshing(self) -> None:
        start = len(self._exchanges)
        self._app.refresh()
        other = self._store.generate(
            KeyAlgorithm.P256, KeyUsage.SIGN, key_id=os.urandom(16), label="fidoloop demo thief"
        )
        assert isinstance(other, EcHardwareKey)
        try:
            stolen = self._refreshed_by(other)
        finally:
            self._store.delete(other.key_id)
        self._lab.write_device_policy([{"name": "advisory", "tiers": ["attested", "unattested"]}])
        denied = self._denied()
        self._lab.write_device_policy(demo_policy())
        right = error_code(stolen) == "invalid_dpop_proof" and denied == "invalid_client_attestation"
        self._done(
            9, right, f"by another key: {error_code(stolen)}; with a policy that denies: {denied}", self._since(start)
        )

    def _denied(self) -> str:
        """Return how a refresh is refused once the server has taken up the new policy."""
        deadline = time.monotonic() + RELOAD_SECONDS
        while time.monotonic() < deadline:
            try:
                self._app.refresh()
            except OAuthRefusedError as error:
                return error.error
            time.sleep(0.2)
        return "not refused"

    def _allowed_again(self) -> Tokens:
        """Return fresh tokens once the server has taken up the policy that allows them."""
        deadline = time.monotonic() + RELOAD_SECONDS
        while True:
            try:
                return self._app.refresh()
            except OAuthRefusedError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _end(self) -> None:
        start = len(self._exchanges)
        tokens = self._allowed_again()
        before = self._introspected(tokens.access_token)
        self._app.logout()
        after = self._introspected(tokens.access_token)
        self._app.unregister()
        right = before.get("active") is True and after == {"active": False}
        bound = str(before.get("cnf", {}).get("jkt", ""))[:12]
        self._done(10, right, f"bound to {bound}…, then not active", self._since(start))

    def _introspected(self, token: str) -> dict[str, Any]:
        key = self._lab.add_api_key("api")
        with Server(self._lab.url, ca=self._lab.ca, api_key=key, recorder=self._recorder(Party.RESOURCE)) as api:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = f"token={token}".encode("ascii")
            answer = api.send("POST", f"{api.base_url}/introspect", content=body, headers=headers, authorised=True)
            return accepted(answer, 200)

    def _refreshed_by(self, key: EcHardwareKey) -> Answer:
        app, tokens = self._known(), self._tokens()
        instance = self._store.key(app.instance_key_id)
        assert isinstance(instance, EcHardwareKey)
        transport = Transport(self._server, instance_key=instance, dpop_key=key)
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token, "client_id": app.client_id}
        return transport.form("/token", form, app.attestation)

    def _known(self) -> App:
        app = AppState(self._profile.database).load(self._server.base_url)
        assert app is not None
        return app

    def _tokens(self) -> Tokens:
        tokens = self._known().tokens
        assert tokens is not None
        return tokens

    def _tier(self) -> Tier:
        kind = self._store.attest(self._known().instance_key_id, os.urandom(32)).kind
        return Tier.UNATTESTED if kind is EvidenceKind.PKCS11 else Tier.ATTESTED

    def _fido(self) -> PhoneFido:
        @contextmanager
        def passkeys() -> Iterator[Passkeys]:
            with Passkeys(self._profile.path, self._store, self._verifier) as opened:
                yield opened

        return PhoneFido(self._phone, self._server.base_url, passkeys)

    def _since(self, start: int) -> list[Exchange]:
        return self._exchanges[start:]

    def _done(self, number: int, as_expected: bool, detail: str, exchanges: list[Exchange]) -> None:
        step = OAuthStep(number, STEPS[number - 1], as_expected, detail, tuple(exchanges))
        self._steps.append(step)
        self._say(step)


def demo_policy() -> list[dict[str, object]]:
    """Return the device policy of the demonstration: devices that prove what they are, and this lab's own token."""
    return [
        {"name": "attested", "grants": GRANTS},
        {"name": "this lab's token", "tiers": ["unattested"], "grants": GRANTS},
    ]
