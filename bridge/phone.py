"""The phone: it takes a dispatched token and carries it through to the server's answer (HTTP contract 3 to 10).

Scan → decode → decrypt with the hardware key → confirmation by the user → redeem → UAF operation → response.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from msgspec import UNSET

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.state import MAC_KEY_ID, AuthenticatorState
from fidoloop.authenticator.user_verification import UserVerifier
from fidoloop.bridge import inbox
from fidoloop.bridge.described import Described, read_described
from fidoloop.bridge.dispatch_targets import DispatchTargets
from fidoloop.bridge.errors import (
    ClientFailureError,
    MalformedPayloadError,
    NetworkError,
    ServerRefusedError,
    TokenExpiredError,
    TokenRedeemedError,
    UnknownHostError,
    UserDeclinedError,
)
from fidoloop.bridge.http import UAF_MEDIA_TYPE, Answer, Recorder, Server
from fidoloop.bridge.inbox import OPERATIONS, REDEEM_PATH, DispatchedToken
from fidoloop.bridge.profile import Account, Profile
from fidoloop.bridge.target_keys import TargetKeys, delete_target_keys, make_target_keys
from fidoloop.bridge.uaf_client import UafClient, UafRequest
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url, outofband, strictjson
from fidoloop.protocol.channel_linking import ChannelLinkingDemand
from fidoloop.protocol.uaf.facets import TRUSTED_APPS_MEDIA_TYPE
from fidoloop.protocol.uaf.messages import (
    AuthenticationRequest,
    DeregistrationRequest,
    GetUafRequest,
    RegistrationRequest,
    ReturnUafRequest,
    SendUafResponse,
    ServerResponse,
    encode_message,
)
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.status import AsmStatus, ClientError, StatusCode


class Result(msgspec.Struct, frozen=True):
    """What an operation came to: `keys` are (AAID, KeyID) pairs made, used or deleted."""

    operation: str
    username: str | None
    status: int
    message: str
    keys: tuple[tuple[str, str], ...]


Linker = Callable[[ChannelLinkingDemand, int | None], str | None]
"""Asked for what the laptop shows or its station sends, and told how many tries are left, None before the first one.

None gives up.
"""
Observer = Callable[[str, str], None]
"""Told of each step: its name (received, decrypted, redeemed, requested, answered) and what travelled."""


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
    ) -> None:
        """Open the phone's state, whose rows bear MACs by the token's key `mac_key_id`.

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
        self.targets = DispatchTargets(profile, store, self._server)
        self.asm = Asm(store, self._state, verifier, caller_id=self._settings.facet_id)

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
        enrolment = _Enrolment(target_name, algorithm)
        return self._follow(text, operations=("registration",), server=server, enrolment=enrolment)

    def scan(self, text: str, *, link: Linker | None = None) -> Result:
        """Carry out the authentication or deregistration that a dispatched token triggers.

        `link` is asked in place of the phone's own where the channel that the token came by knows the answer.
        """
        return self._follow(text, operations=("authentication", "deregistration"), link=link)

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
            request = self._uaf_request(client, answer.decode(ReturnUafRequest))
            return self._run(server, client, request, account=None)

    def remove(self, account: Account) -> tuple[tuple[str, str], ...]:
        """Delete this phone's keys for `account`, and its dispatch target at the server; return the keys deleted.

        The keys go even where the server cannot be reached; what it says then is raised after.
        """
        deleted: list[tuple[str, str]] = []
        for registration in self.asm.registrations():
            if (registration.app_id, registration.username) == (account.app_id, account.username):
                gone = self.asm.deregister(registration.aaid, app_id=account.app_id, key_id=registration.key_id)
                deleted.extend((registration.aaid, base64url.encode(key)) for key in gone)
        try:
            self.targets.delete(account)
        finally:
            self._profile.remove_account(account)
        return tuple(deleted)

    def _follow(
        self,
        text: str,
        *,
        operations: tuple[str, ...],
        server: str | None = None,
        enrolment: "_Enrolment | None" = None,
        transaction_required: bool = False,
        link: Linker | None = None,
    ) -> Result:
        payload = inbox.decode(text)
        self._observe("received", f"{len(text)} characters, {payload.nma_data_content_type}")
        token = inbox.open_token(payload, self._profile, self._store)
        self._observe("decrypted", ", ".join(token.members) if token.encrypted else "nothing to decrypt")
        if token.operation not in operations:
            raise MalformedPayloadError(f"a token for {token.operation}, where {' or '.join(operations)} is wanted")
        inbox.check_host(token, self._profile, expected=server)
        accepted = self._confirm(token)
        # Redeeming a deregistration would carry it out; a refused log-in is redeemed to tell the laptop at once.
        if not accepted and token.operation != "authentication":
            raise UserDeclinedError(f"the user declined the {token.operation}")
        with self._server(token.base_url) as connection, self._client(token.base_url) as client:
            request = self._redeem(connection, client, token)
            if not accepted:
                cancelled = ClientFailureError(
                    ClientError.USER_CANCELLED, "the user declined", AsmStatus.USER_CANCELLED
                )
                self._report(connection, client, request, cancelled)
                raise UserDeclinedError("the user declined the authentication")
            if transaction_required and not (isinstance(request, AuthenticationRequest) and request.transaction):
                missing = ClientFailureError(ClientError.INVALID_TRANSACTION_CONTENT, "no transaction to confirm")
                self._report(connection, client, request, missing)
                raise missing
            linking = _Linking(token.linking, link or self._link) if token.linking else None
            return self._run(connection, client, request, account=token.account, enrolment=enrolment, linking=linking)

    def _redeem(self, server: Server, client: UafClient, token: DispatchedToken) -> UafRequest:
        message = outofband.RedeemRequest(token.token)
        path = f"{REDEEM_PATH}{token.operation}"
        answer = server.post(path, message, accept=UAF_MEDIA_TYPE).decode(ReturnUafRequest)
        self._observe("redeemed", f"status {answer.statusCode}")
        if answer.statusCode == StatusCode.REQUEST_TIMEOUT:
            raise TokenExpiredError(answer.statusCode, "the token has expired")
        if answer.statusCode == StatusCode.FORBIDDEN:
            raise TokenRedeemedError(answer.statusCode, "the token was redeemed already")
        request = self._uaf_request(client, answer)
        if request.header.op != OPERATIONS[token.operation]:
            raise ServerRefusedError(
                answer.statusCode, f"a {token.operation} token led to a {request.header.op} request"
            )
        return request

    def _uaf_request(self, client: UafClient, answer: ReturnUafRequest) -> UafRequest:
        if answer.statusCode != StatusCode.OK or not answer.uafRequest:
            raise ServerRefusedError(answer.statusCode, "the server issued no UAF request")
        request = client.read(answer.uafRequest)
        self._observe("requested", f"{request.header.op} for {request.header.appID or 'this facet'}")
        return request

    def _run(
        self,
        server: Server,
        client: UafClient,
        request: UafRequest,
        *,
        account: Account | None,
        enrolment: "_Enrolment | None" = None,
        linking: "_Linking | None" = None,
    ) -> Result:
        try:
            if isinstance(request, DeregistrationRequest):
                return self._deregister(client, request, account)
            if isinstance(request, RegistrationRequest):
                return self._register(server, client, request, enrolment or _Enrolment())
            context = linking.context(None) if linking else {}
            outcome = client.authenticate(request, server.channel_binding)
            message = encode_message(outcome.response)
            answer = self._respond(server, "/uaf/1.1/authentication", message, context)
            while linking and answer.tries_left:
                # What was signed is still good: the challenge is not consumed before the answer is right.
                context = linking.context(answer.tries_left)
                answer = self._respond(server, "/uaf/1.1/authentication", message, context)
        except ClientFailureError as error:
            self._report(server, client, request, error)
            raise
        username = account.username if account else None
        return self._done(Result("authentication", username, answer.status, answer.message, outcome.keys))

    def _register(
        self, server: Server, client: UafClient, request: RegistrationRequest, enrolment: "_Enrolment"
    ) -> Result:
        existing = self._profile.account(server.base_url, request.username)
        outcome = client.register(request, server.channel_binding, algorithm=enrolment.algorithm)
        keys: TargetKeys | None = None
        try:
            context: dict[str, Any] = {}
            if existing is None or existing.target_id is None:
                keys = self._target_keys()
            if keys is not None:
                context["dispatchTarget"] = outofband.NewDispatchTarget(
                    name=enrolment.target_name,
                    signatureKey=dict(keys.signature_jwk.members),
                    encryptionKey=dict(keys.encryption_jwk.members),
                    deviceId=self._settings.device_id,
                )
            answer = self._respond(server, "/uaf/1.1/registration", encode_message(outcome.response), context)
            if answer.status != StatusCode.OK:
                raise ServerRefusedError(answer.status, answer.message)
        except BaseException:
            # The server took nothing: keys it does not know would only fill the token.
            try:
                client.undo(outcome)
            finally:
                if keys is not None:
                    delete_target_keys(self._store, keys.signature_key_id, keys.encryption_key_id)
            raise
        if existing is None and keys is None:
            self._profile.save_account(Account(server.base_url, request.username, outcome.app_id))
        if keys is not None:
            account = Account(
                base_url=server.base_url,
                username=request.username,
                app_id=outcome.app_id,
                target_id=answer.target_id,
                target_name=enrolment.target_name,
                signature_key_id=keys.signature_key_id,
                encryption_key_id=keys.encryption_key_id,
                encryption_thumbprint=keys.encryption_jwk.thumbprint,
            )
            self._profile.save_account(account)
            if existing is not None:
                delete_target_keys(self._store, existing.signature_key_id, existing.encryption_key_id)
        return self._done(Result("registration", request.username, answer.status, answer.message, outcome.keys))

    def _target_keys(self) -> TargetKeys | None:
        """Make the keys of a dispatch target; None where the token makes no keys: then nothing is dispatched here."""
        if not self._store.info().makes_keys:
            self._observe("registered", "without a dispatch target, since the token makes no keys: use `login`")
            return None
        return make_target_keys(self._store)

    def _deregister(self, client: UafClient, request: DeregistrationRequest, account: Account | None) -> Result:
        deleted = client.deregister(request)
        return self._done(
            Result(
                "deregistration",
                account.username if account else None,
                StatusCode.OK,
                f"{len(deleted)} key(s) deleted",
                deleted,
            )
        )

    def _respond(self, server: Server, path: str, uaf_response: str, context: dict[str, Any]) -> Described:
        message = SendUafResponse(uaf_response, strictjson.encode(context) if context else UNSET)
        answer = server.post(path, message, content_type=UAF_MEDIA_TYPE, accept=UAF_MEDIA_TYPE)
        return read_described(answer.decode(ServerResponse))

    def _report(self, server: Server, client: UafClient, request: UafRequest, failure: ClientFailureError) -> None:
        """Tell the server why the client failed (HTTP contract 3; seed 002); its 1498 is expected and says nothing.

        Where it cannot be told, the failure itself is still what the user has to hear.
        """
        if isinstance(request, DeregistrationRequest):
            return
        context = {"clientErrorCode": int(failure.error)}
        if failure.asm_status is not None:
            context["asmStatusCode"] = int(failure.asm_status)
        path = "/uaf/1.1/registration" if isinstance(request, RegistrationRequest) else "/uaf/1.1/authentication"
        try:
            response = self._respond(
                server, path, encode_message(client.failed_response(request, server.channel_binding)), context
            )
        except (NetworkError, ServerRefusedError) as error:
            self._observe("answered", f"client error {failure.error.name}, which the server did not take: {error}")
            return
        self._observe("answered", f"client error {failure.error.name}, status {response.status}")

    def _done(self, result: Result) -> Result:
        self._observe("answered", f"status {result.status}")
        if result.status != StatusCode.OK:
            raise ServerRefusedError(result.status, result.message)
        return result

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


class _Linking(NamedTuple):
    """What must be answered, and who knows it."""

    demand: ChannelLinkingDemand
    ask: Linker

    def context(self, tries_left: int | None) -> dict[str, Any]:
        """Return the context of a response. Raises ClientFailureError where nobody answers any more."""
        answer = self.ask(self.demand, tries_left)
        if answer is None:
            what = "was not answered" if tries_left is None else "was answered wrongly"
            raise ClientFailureError(
                ClientError.USER_CANCELLED, f"what the laptop shows {what}", AsmStatus.USER_CANCELLED
            )
        return {"channelLinkingResponse": answer}


class _Enrolment(NamedTuple):
    """What its user says of a registration: the dispatch target's name, and the algorithm where it matters."""

    target_name: str = "phone"
    algorithm: Algorithm | None = None
