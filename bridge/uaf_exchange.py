"""One UAF operation between phone and server: redeem, carry out, answer; and how one that was cut off goes on.

HTTP contract 3 to 5, 8 and 10.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from fidoloop.authenticator.asm import Asm
from fidoloop.bridge.described import Described, read_described
from fidoloop.bridge.errors import (
    ClientFailureError,
    NetworkError,
    ServerRefusedError,
    TokenExpiredError,
    TokenRedeemedError,
)
from fidoloop.bridge.http import UAF_MEDIA_TYPE, Server
from fidoloop.bridge.inbox import OPERATIONS, REDEEM_PATH, DispatchedToken
from fidoloop.bridge.journal import Entry
from fidoloop.bridge.profile import Account, Profile
from fidoloop.bridge.target_keys import TargetKeys, delete_target_keys, make_target_keys, new_target_key_ids
from fidoloop.bridge.uaf_client import UafClient, UafRequest
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url, outofband, strictjson
from fidoloop.protocol.channel_linking import ChannelLinkingDemand
from fidoloop.protocol.uaf.messages import (
    DeregistrationRequest,
    RegistrationRequest,
    ReturnUafRequest,
    SendUafResponse,
    ServerResponse,
    encode_message,
)
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.status import AsmStatus, ClientError, StatusCode

REGISTRATION, AUTHENTICATION = "/uaf/1.1/registration", "/uaf/1.1/authentication"


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
"""Told of each step: its name (received, decrypted, redeemed, requested, signed, answered) and what travelled."""


class Linking(NamedTuple):
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


class Enrolment(NamedTuple):
    """What its user says of a registration: the dispatch target's name, and the algorithm where it matters."""

    target_name: str = "phone"
    algorithm: Algorithm | None = None


USUAL = Enrolment()


class Parts(NamedTuple):
    """What of a phone an exchange works with."""

    asm: Asm
    profile: Profile
    store: KeyStore
    observe: Observer


class UafExchange:
    """An operation at one server; `entry` keeps its steps, where it came by a dispatched token."""

    def __init__(self, parts: Parts, server: Server, client: UafClient, entry: Entry | None = None) -> None:
        self._asm, self._profile, self._store, self._observe = parts
        self._server = server
        self._client = client
        self._entry = entry

    def redeem(self, token: DispatchedToken) -> UafRequest:
        """Redeem the token and return the request it leads to.

        Raises:
            TokenExpiredError, TokenRedeemedError, ServerRefusedError; ClientFailureError: the request is unreadable.
        """
        message = outofband.RedeemRequest(token.token)
        path = f"{REDEEM_PATH}{token.operation}"
        answer = self._server.post(path, message, accept=UAF_MEDIA_TYPE).decode(ReturnUafRequest)
        if answer.uafRequest:
            self._note(step="redeemed", uaf_request=answer.uafRequest)
        self._observe("redeemed", f"status {answer.statusCode}")
        if answer.statusCode == StatusCode.REQUEST_TIMEOUT:
            raise TokenExpiredError(answer.statusCode, "the token has expired")
        if answer.statusCode == StatusCode.FORBIDDEN:
            raise TokenRedeemedError(answer.statusCode, "the token was redeemed already")
        request = self.read(answer)
        if request.header.op != OPERATIONS[token.operation]:
            raise ServerRefusedError(
                answer.statusCode, f"a {token.operation} token led to a {request.header.op} request"
            )
        return request

    def read(self, answer: ReturnUafRequest) -> UafRequest:
        """Return the request in a server's answer. Raises ServerRefusedError, ClientFailureError."""
        if answer.statusCode != StatusCode.OK or not answer.uafRequest:
            raise ServerRefusedError(answer.statusCode, "the server issued no UAF request")
        request = self._client.read(answer.uafRequest)
        self._observe("requested", f"{request.header.op} for {request.header.appID or 'this facet'}")
        return request

    def run(
        self,
        request: UafRequest,
        *,
        account: Account | None,
        enrolment: Enrolment = USUAL,
        linking: Linking | None = None,
    ) -> Result:
        """Carry out `request` and answer the server.

        Raises:
            ClientFailureError, which the server is told; ServerRefusedError, NetworkError.
        """
        try:
            if isinstance(request, DeregistrationRequest):
                return self._deregister(request, account)
            if isinstance(request, RegistrationRequest):
                return self._register(request, enrolment)
            context = linking.context(None) if linking else {}
            outcome = self._client.authenticate(request, self._server.channel_binding)
            message = encode_message(outcome.response)
            self._note(step="signed", uaf_response=message, keys=outcome.keys)
            self._observe("signed", ", ".join(aaid for aaid, _ in outcome.keys))
            return self.send(message, outcome.keys, account, context, linking)
        except ClientFailureError as error:
            self.report(request, error)
            raise

    def send(
        self,
        message: str,
        keys: tuple[tuple[str, str], ...],
        account: Account | None,
        context: dict[str, Any],
        linking: Linking | None,
    ) -> Result:
        """Send what was signed. Raises ServerRefusedError, ClientFailureError."""
        answer = self._respond(AUTHENTICATION, message, context)
        while linking and answer.tries_left:
            # What was signed is still good: the challenge is not consumed before the answer is right.
            context = linking.context(answer.tries_left)
            answer = self._respond(AUTHENTICATION, message, context)
        username = account.username if account else None
        return self._done(Result("authentication", username, answer.status, answer.message, keys))

    def report(self, request: UafRequest, failure: ClientFailureError) -> None:
        """Tell the server why the client failed (HTTP contract 3; seed 002); its 1498 is expected and says nothing.

        Where it cannot be told, the failure itself is still what the user has to hear.
        """
        if isinstance(request, DeregistrationRequest):
            return
        context = {"clientErrorCode": int(failure.error)}
        if failure.asm_status is not None:
            context["asmStatusCode"] = int(failure.asm_status)
        path = REGISTRATION if isinstance(request, RegistrationRequest) else AUTHENTICATION
        message = encode_message(self._client.failed_response(request, self._server.channel_binding))
        try:
            response = self._respond(path, message, context)
        except (NetworkError, ServerRefusedError) as error:
            self._observe("answered", f"client error {failure.error.name}, which the server did not take: {error}")
            return
        self._observe("answered", f"client error {failure.error.name}, status {response.status}")

    def _register(self, request: RegistrationRequest, enrolment: Enrolment) -> Result:
        existing = self._profile.account(self._server.base_url, request.username)
        target_key_ids = new_target_key_ids()
        held = tuple(base64url.encode(entry.key_id) for entry in self._asm.registrations())
        # What is made from here on is found, and removed, should this process be killed before the server has it.
        self._note(held=held, target_key_ids=tuple(key_id.hex() for key_id in target_key_ids))
        outcome = self._client.register(request, self._server.channel_binding, algorithm=enrolment.algorithm)
        keys: TargetKeys | None = None
        try:
            context: dict[str, Any] = {}
            if existing is None or existing.target_id is None:
                keys = self._target_keys(target_key_ids)
            if keys is not None:
                context["dispatchTarget"] = outofband.NewDispatchTarget(
                    name=enrolment.target_name,
                    signatureKey=dict(keys.signature_jwk.members),
                    encryptionKey=dict(keys.encryption_jwk.members),
                    deviceId=self._profile.settings().device_id,
                )
            self._observe("signed", ", ".join(aaid for aaid, _ in outcome.keys))
            answer = self._respond(REGISTRATION, encode_message(outcome.response), context)
            if answer.status != StatusCode.OK:
                raise ServerRefusedError(answer.status, answer.message)
        except BaseException:
            # The server took nothing: keys it does not know would only fill the token.
            try:
                self._client.undo(outcome)
            finally:
                if keys is not None:
                    delete_target_keys(self._store, keys.signature_key_id, keys.encryption_key_id)
            raise
        self._profile.save_keys(self._server.base_url, request.username, outcome.keys)
        if existing is None and keys is None:
            self._profile.save_account(Account(self._server.base_url, request.username, outcome.app_id))
        if keys is not None:
            account = Account(
                base_url=self._server.base_url,
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

    def _target_keys(self, key_ids: tuple[bytes, bytes]) -> TargetKeys | None:
        """Make the keys of a dispatch target; None where the token makes no keys: then nothing is dispatched here."""
        if not self._store.info().makes_keys:
            self._observe("registered", "without a dispatch target, since the token makes no keys: use `login`")
            return None
        return make_target_keys(self._store, key_ids)

    def _deregister(self, request: DeregistrationRequest, account: Account | None) -> Result:
        deleted = self._client.deregister(request)
        self._profile.forget_keys(deleted)
        username = account.username if account else None
        message = f"{len(deleted)} key(s) deleted"
        return self._done(Result("deregistration", username, StatusCode.OK, message, deleted))

    def _respond(self, path: str, uaf_response: str, context: dict[str, Any]) -> Described:
        message = SendUafResponse(uaf_response, strictjson.encode(context) if context else UNSET)
        answer = self._server.post(path, message, content_type=UAF_MEDIA_TYPE, accept=UAF_MEDIA_TYPE)
        return read_described(answer.decode(ServerResponse))

    def _done(self, result: Result) -> Result:
        self._observe("answered", f"status {result.status}")
        if result.status != StatusCode.OK:
            raise ServerRefusedError(result.status, result.message)
        return result

    def _note(self, **changes: Any) -> None:  # noqa: ANN401 - members of a Record
        if self._entry is not None:
            self._entry.note(**changes)
