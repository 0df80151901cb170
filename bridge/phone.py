"""The phone: it takes a dispatched token and carries it through to the server's answer (HTTP contract 3 to 10).

Scan → decode → decrypt with the hardware key → confirmation by the user → redeem → UAF operation → response.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, NoReturn, Self

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.card_authenticator import CardAuthenticator
from fidoloop.authenticator.state import MAC_KEY_ID, AuthenticatorState
from fidoloop.authenticator.user_verification import UserVerifier
from fidoloop.bridge import inbox
from fidoloop.bridge.dispatch_targets import DispatchTargets
from fidoloop.bridge.errors import (
    BridgeError,
    ClientFailureError,
    MalformedPayloadError,
    NetworkError,
    ServerRefusedError,
    TokenExpiredError,
    UnknownHostError,
    UserDeclinedError,
)
from fidoloop.bridge.http import UAF_MEDIA_TYPE, Answer, Recorder, Server
from fidoloop.bridge.inbox import OPERATIONS, DispatchedToken
from fidoloop.bridge.journal import Entry, Journal
from fidoloop.bridge.profile import Account, Profile
from fidoloop.bridge.push.subscriptions import PushSubscriptions
from fidoloop.bridge.resumption import CutOff
from fidoloop.bridge.uaf_client import UafClient
from fidoloop.bridge.uaf_exchange import USUAL, Enrolment, Linker, Linking, Observer, Parts, Result, UafExchange
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url, outofband, strictjson
from fidoloop.protocol.uaf.facets import TRUSTED_APPS_MEDIA_TYPE
from fidoloop.protocol.uaf.messages import (
    AuthenticationRequest,
    GetUafRequest,
    RegistrationRequest,
    ReturnUafRequest,
    encode_message,
)
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.status import AsmStatus, ClientError, StatusCode

__all__ = ["Finished", "Linker", "Observer", "Phone", "Result"]
MAX_AGE_MILLIS = 3_600_000
"""What was cut off longer ago is not even asked about: no token or request lives so long."""


class Finished(NamedTuple):
    """What came of an operation that had been cut off; `token` is None where it could not be read any more."""

    token: DispatchedToken | None
    outcome: Result | BridgeError | KeyStoreError


class CarriedOut:
    """The response to a UAF request, the text of a JSON array of one; `kept` once somebody took it."""

    def __init__(self, response: str) -> None:
        self.response = response
        self.kept = False

    def keep(self) -> None:
        """Let what was made be kept."""
        self.kept = True


class Phone:
    """One phone: a profile, an open key store, a user. Not safe between threads.

    `confirm` asks the user about a dispatched token before it is redeemed: operation, host, account and who asked,
    since a payload is unauthenticated input (HTTP contract 9). `link` is asked where the token says that the phone
    must answer something of the laptop's. Errors are BridgeError; KeyStoreError from the token.
    """

    def __init__(
        self,
        profile: Profile,
        store: KeyStore,
        verifier: UserVerifier,
        *,
        confirm: Callable[[DispatchedToken], bool],
        link: Linker = lambda demand, tries_left: None,
        observer: Observer = lambda name, detail: None,
        recorder: Recorder | None = None,
        insecure: bool = False,
        mac_key_id: bytes = MAC_KEY_ID,
        cards: Sequence[CardAuthenticator] = (),
    ) -> None:
        """Open the phone's state, whose rows bear MACs by the token's key `mac_key_id`.

        `cards` are the authenticators of a UAF card in a reader; they come before the token's own.

        Raises:
            ProfileMissingError; KeyStoreError.
        """
        self._profile = profile
        self._settings = profile.settings()
        self._store = store
        self._confirm = confirm
        self._link = link
        self._observe = observer
        self._recorder = recorder
        self._insecure = insecure
        self._state = AuthenticatorState(profile.path, store, mac_key_id=mac_key_id)
        self.subscriptions = PushSubscriptions(profile)
        self.targets = DispatchTargets(profile, store, self._server)
        facet_id, form = self._settings.facet_id, self._settings.form
        self.asm = Asm(store, self._state, verifier, caller_id=facet_id, form=form, cards=cards)
        self._parts = Parts(self.asm, profile, store, observer)
        self._journal = Journal(profile.operations)
        self._finished: dict[str, Result] = {}

    @property
    def store(self) -> KeyStore:
        """The open key store."""
        return self._store

    def close(self) -> None:
        """Close the phone's state; the key store and profile stay open."""
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def accounts(self) -> list[Account]:
        """Return the accounts this phone has."""
        return self._profile.accounts()

    def keys_on_cards(self, account: Account) -> list[tuple[str, bytes]]:
        """Return AAID and KeyID of the keys that an account has on cards, which nothing in this phone holds."""
        held = {(entry.aaid, entry.key_id) for entry in self.asm.registrations()}
        return sorted(self._profile.keys_of(account) - held)

    def keys_out_of_reach(self, account: Account) -> list[tuple[str, bytes]]:
        """Return AAID and KeyID of the keys of an account that are on cards which are not there."""
        return [key for key in self.keys_on_cards(account) if key[0] not in self.asm.authenticators]

    def register(
        self,
        text: str,
        *,
        server: str | None = None,
        target_name: str = "phone",
        algorithm: Algorithm | None = None,
    ) -> Result:
        """Enrol with a registration token, and become a dispatch target in the same response.

        `server` is the base URL the user expects; without it the host of the token is shown and confirmed. With
        `algorithm` the new key is of it, as far as the policy accepts that; without, the policy chooses.

        Raises:
            UnknownHostError: the token is for another server than `server`.
        """
        enrolment = Enrolment(target_name, algorithm)
        return self._follow(text, operations=("registration",), server=server, enrolment=enrolment)

    def scan(self, text: str, *, link: Linker | None = None) -> Result:
        """Carry out the authentication or deregistration that a dispatched token triggers.

        `link` is asked in place of the phone's own where the channel that the token came by knows the answer.
        """
        return self._follow(text, operations=("authentication", "deregistration"), link=link)

    def take_push(self, account: Account, text: str) -> Result:
        """As `scan`, for what was pushed to the dispatch target of `account`: it must be encrypted to that target.

        Raises:
            MalformedPayloadError: it is not, whoever could read it.
        """
        return self._follow(text, operations=("authentication", "deregistration"), pushed_to=account)

    def confirm(self, text: str) -> Result:
        """As `scan`, for a token that must hold a transaction to confirm."""
        return self._follow(text, operations=("authentication",), transaction_required=True)

    def deregister(self, text: str) -> Result:
        """Carry out the deregistration that a dispatched token triggers."""
        return self._follow(text, operations=("deregistration",))

    def login(self, base_url: str | None = None) -> Result:
        """Authenticate without a dispatched token, usernameless, at a server this phone is registered with.

        Raises:
            UnknownHostError: no account there, or several servers to choose from.
        """
        servers = sorted({account.base_url for account in self._profile.accounts()})
        chosen = [url for url in servers if base_url is None or url == base_url.rstrip("/")]
        if len(chosen) != 1:
            raise UnknownHostError(
                "this phone is registered at several servers: name one" if chosen else "not registered there"
            )
        with self._server(chosen[0]) as server, self._client(chosen[0]) as client:
            answer = server.post(
                "/uaf/1.1/request/authentication",
                GetUafRequest(op="Auth"),
                content_type=UAF_MEDIA_TYPE,
                accept=UAF_MEDIA_TYPE,
            )
            exchange = UafExchange(self._parts, server, client)
            return exchange.run(exchange.read(answer.decode(ReturnUafRequest)), account=None)

    @contextmanager
    def carrying_out(self, base_url: str, uaf_request: str) -> Iterator[CarriedOut]:
        """Carry out a UAF request that came by another way than a token; whoever asked brings the response back.

        What was made is undone unless `keep` is called before the end.

        Raises:
            ClientFailureError.
        """
        with self._client(base_url) as client:
            request = client.read(uaf_request)
            if isinstance(request, AuthenticationRequest):
                yield CarriedOut(encode_message(client.authenticate(request).response))
                return
            if not isinstance(request, RegistrationRequest):
                raise ClientFailureError(ClientError.PROTOCOL_ERROR, "neither a registration nor an authentication")
            outcome = client.register(request)
            done = CarriedOut(encode_message(outcome.response))
            try:
                yield done
            finally:
                if not done.kept:
                    client.undo(outcome)
            if not done.kept:
                return
            self._profile.save_keys(base_url, request.username, outcome.keys)
            if self._profile.account(base_url, request.username) is None:
                self._profile.save_account(Account(base_url, request.username, outcome.app_id))

    def remove(self, account: Account) -> tuple[tuple[str, str], ...]:
        """Delete this phone's keys for `account`, and its dispatch target at the server; return the keys deleted.

        The keys go even where the server cannot be reached; what it says then is raised after.
        """
        deleted: list[tuple[str, str]] = []
        mine = self._profile.keys_of(account)
        mine |= {
            (registration.aaid, registration.key_id)
            for registration in self.asm.registrations()
            if (registration.app_id, registration.username) == (account.app_id, account.username)
        }
        for aaid, key_id in sorted(mine):
            gone = self.asm.deregister(aaid, app_id=account.app_id, key_id=key_id)
            deleted.extend((aaid, base64url.encode(key)) for key in gone)
        try:
            self.targets.delete(account)
        finally:
            self.subscriptions.remove(account)
            self._profile.remove_account(account)
        return tuple(deleted)

    def waiting(
        self, accounts: Sequence[Account] | None = None
    ) -> Iterator[tuple[Account, outofband.PendingOperations | BridgeError]]:
        """Ask the server of each account that has a dispatch target what waits there; yield what it says."""
        for account in self.targets.accounts() if accounts is None else accounts:
            try:
                yield account, self.targets.operations(account)
            except BridgeError as error:
                yield account, error

    def take(self, payload: outofband.Payload, *, link: Linker | None = None) -> Result:
        """Carry out what a payload asks for that a server kept for this phone, as `scan` does."""
        return self._follow(strictjson.encode(payload), operations=tuple(OPERATIONS), link=link)

    def finish_left_over(self) -> list[Finished]:
        """Finish what this phone had begun, and its user agreed to, when its process was stopped.

        Every operation does so before its own. What cannot be finished is said and forgotten, unless it is for the
        network or the key device: then the next start tries again.
        """
        return [self._finish(entry) for entry in self._journal.left_over()]

    def _finish(self, entry: Entry) -> Finished:
        token: DispatchedToken | None = None
        outcome: Result | BridgeError | KeyStoreError
        try:
            with _kept(entry):
                token = inbox.open_token(inbox.decode(entry.record.payload), self._profile, self._store)
                inbox.check_host(token, self._profile, expected=None)
                self._observe("cut off", f"{token.operation} at {token.host}, to be finished first")
                if time.time() * 1000 - entry.record.begun > MAX_AGE_MILLIS:
                    raise TokenExpiredError(StatusCode.REQUEST_TIMEOUT, "it was cut off too long ago")
                linking = Linking(token.linking, self._link) if token.linking else None
                with self._server(token.base_url) as server, self._client(token.base_url) as client:
                    outcome = CutOff(self._parts, server, client, entry, token, linking).finish()
        except (BridgeError, KeyStoreError) as error:
            outcome = error
        self._observe("finished", outcome.message if isinstance(outcome, Result) else str(outcome))
        if token is not None and isinstance(outcome, Result):
            self._finished[token.token] = outcome
        return Finished(token, outcome)

    def _follow(
        self,
        text: str,
        *,
        operations: tuple[str, ...],
        server: str | None = None,
        enrolment: Enrolment = USUAL,
        transaction_required: bool = False,
        link: Linker | None = None,
        pushed_to: Account | None = None,
    ) -> Result:
        payload = inbox.decode(text)
        self._observe("received", f"{len(text)} characters, {payload.nma_data_content_type}")
        token = inbox.open_token(payload, self._profile, self._store)
        self._observe("decrypted", ", ".join(token.members) if token.encrypted else "nothing to decrypt")
        if pushed_to is not None and (token.account is None or token.account.target_id != pushed_to.target_id):
            raise MalformedPayloadError("a push must hold a token encrypted to the account it was pushed to")
        if token.operation not in operations:
            raise MalformedPayloadError(f"a token for {token.operation}, where {' or '.join(operations)} is wanted")
        inbox.check_host(token, self._profile, expected=server)
        self.finish_left_over()
        if token.token in self._finished:
            return self._finished[token.token]
        accepted = self._confirm(token)
        # Redeeming a deregistration would carry it out; a refused log-in is redeemed to tell the laptop at once.
        if not accepted and token.operation != "authentication":
            raise UserDeclinedError(f"the user declined the {token.operation}")
        linking = Linking(token.linking, link or self._link) if token.linking else None
        with self._server(token.base_url) as connection, self._client(token.base_url) as client:
            if not accepted:
                self._refuse(UafExchange(self._parts, connection, client), token)
            with self._begin(text, enrolment) as entry, _kept(entry):
                exchange = UafExchange(self._parts, connection, client, entry)
                request = exchange.redeem(token)
                if transaction_required and not (isinstance(request, AuthenticationRequest) and request.transaction):
                    missing = ClientFailureError(ClientError.INVALID_TRANSACTION_CONTENT, "no transaction to confirm")
                    exchange.report(request, missing)
                    raise missing
                return exchange.run(request, account=token.account, enrolment=enrolment, linking=linking)

    def _begin(self, text: str, enrolment: Enrolment) -> Entry:
        return self._journal.begin(text, target_name=enrolment.target_name, algorithm=enrolment.algorithm or 0)

    def _refuse(self, exchange: UafExchange, token: DispatchedToken) -> NoReturn:
        request = exchange.redeem(token)
        cancelled = ClientFailureError(ClientError.USER_CANCELLED, "the user declined", AsmStatus.USER_CANCELLED)
        exchange.report(request, cancelled)
        raise UserDeclinedError("the user declined the authentication")

    def _server(self, base_url: str) -> Server:
        return Server(
            base_url,
            ca=Path(self._settings.ca) if self._settings.ca else None,
            insecure=self._insecure,
            recorder=self._recorder,
        )

    @contextmanager
    def _client(self, base_url: str) -> Iterator[UafClient]:
        # Facet lists are fetched on a connection of their own, which has no cookies or credentials to leak.
        with self._server(base_url) as plain:

            def fetch(url: str, condition: Mapping[str, str]) -> Answer:
                return plain.send("GET", url, headers={"Accept": TRUSTED_APPS_MEDIA_TYPE, **condition})

            yield UafClient(
                self.asm,
                facet_id=self._settings.facet_id,
                fetch=fetch,
                lists=self._profile.facet_lists,
                insecure=self._insecure,
            )


@contextmanager
def _kept(entry: Entry) -> Iterator[None]:
    """Forget an operation at its end, whichever that is; what another start may finish is kept."""
    try:
        yield
    except (NetworkError, KeyStoreError):
        raise
    except BridgeError as error:
        if not (isinstance(error, ServerRefusedError) and 500 <= error.status < 600):
            entry.forget()
        raise
    entry.forget()
