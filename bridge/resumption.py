"""Finishing what a phone had begun when it was stopped: the server's status says how far it came (HTTP contract 10).

Nothing is signed twice: what was signed is sent again as it was, and only while the server still waits for it.
"""

from typing import NamedTuple

from fidoloop.bridge.errors import ServerRefusedError, TokenRedeemedError
from fidoloop.bridge.http import Server
from fidoloop.bridge.inbox import DispatchedToken
from fidoloop.bridge.journal import Entry, Record
from fidoloop.bridge.laptop import Laptop, state_of
from fidoloop.bridge.profile import Account
from fidoloop.bridge.target_keys import delete_target_keys
from fidoloop.bridge.uaf_client import UafClient, UafRequest
from fidoloop.bridge.uaf_exchange import Enrolment, Linking, Parts, Result, UafExchange
from fidoloop.protocol import base64url
from fidoloop.protocol.outofband import StatusResponse
from fidoloop.protocol.uaf.extensions import SESSION_ID
from fidoloop.protocol.uaf.messages import AuthenticationRequest, DeregistrationRequest, RegistrationRequest
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.status import StatusCode


class CutOff(NamedTuple):
    """An operation that was cut off, at its server again."""

    parts: Parts
    server: Server
    client: UafClient
    entry: Entry
    token: DispatchedToken
    linking: Linking | None

    def finish(self) -> Result:
        """Carry the operation to its end, or say why that cannot be done any more.

        Raises:
            TokenRedeemedError, TokenExpiredError, ServerRefusedError: it is lost; ClientFailureError; NetworkError.
        """
        exchange = UafExchange(self.parts, self.server, self.client, self.entry)
        record = self.entry.record
        if record.step == "redeeming":
            request = self._redeem_again(exchange)
            enrolment = self._enrolment()
            return exchange.run(request, account=self.token.account, enrolment=enrolment, linking=self.linking)
        request = self.client.read(record.uaf_request)
        if isinstance(request, DeregistrationRequest):
            return exchange.run(request, account=self.token.account)
        status = self._status(request)
        if isinstance(request, RegistrationRequest):
            return self._registration(exchange, request, status)
        return self._authentication(exchange, request, status, record)

    def _enrolment(self) -> Enrolment:
        record = self.entry.record
        return Enrolment(record.target_name, Algorithm(record.algorithm) if record.algorithm else None)

    def _redeem_again(self, exchange: UafExchange) -> UafRequest:
        try:
            return exchange.redeem(self.token)
        except TokenRedeemedError as error:
            what = "the answer to its redemption never arrived here: ask for a new one"
            if self.token.operation == "deregistration":
                what = "the server has deleted the keys; `phone deregister --user` deletes them here"
            raise TokenRedeemedError(error.status, f"the {self.token.operation} was cut off, and {what}") from None

    def _status(self, request: UafRequest) -> StatusResponse | None:
        """Return where the session stands; None where the server did not name one."""
        named = [extension.data for extension in request.header.exts or () if extension.id == SESSION_ID]
        return Laptop(self.server).status(named[0]) if named else None

    def _authentication(
        self, exchange: UafExchange, request: AuthenticationRequest, status: StatusResponse | None, record: Record
    ) -> Result:
        account = self.token.account
        if status is not None and state_of(status) == "succeeded":
            username = account.username if account else status.userId or None
            return Result("authentication", username, StatusCode.OK, "done before this phone was stopped", record.keys)
        _check_open("authentication", status)
        if record.step == "signed":
            context = self.linking.context(None) if self.linking else {}
            return exchange.send(record.uaf_response, record.keys, account, context, self.linking)
        return exchange.run(request, account=account, linking=self.linking)

    def _registration(
        self, exchange: UafExchange, request: RegistrationRequest, status: StatusResponse | None
    ) -> Result:
        account = self.parts.profile.account(self.server.base_url, request.username)
        if account is not None and account.target_id is not None:
            made = {key_id.hex() for key_id in (account.signature_key_id, account.encryption_key_id) if key_id}
            if made & set(self.entry.record.target_key_ids):
                return Result("registration", request.username, StatusCode.OK, "done before this phone was stopped", ())
        if status is not None and state_of(status) == "succeeded":
            return self._registered(request, status)
        self._remove_what_was_made(request)
        _check_open("registration", status)
        return exchange.run(request, account=None, enrolment=self._enrolment())

    def _registered(self, request: RegistrationRequest, status: StatusResponse) -> Result:
        """Keep the account that the server has: its answer, which named the dispatch target, is lost."""
        taken = {(entry.aaid, entry.keyId) for entry in status.authenticators or ()}
        asm = self.parts.asm
        held = {(entry.aaid, base64url.encode(entry.key_id)) for entry in asm.registrations()}
        # Which keys a card has only the card knows.
        held |= {(aaid, key) for aaid, key in taken if aaid in asm.authenticators and asm.is_roaming(aaid)}
        self._delete_target_keys()
        if not taken & held:
            raise ServerRefusedError(StatusCode.OK, "the server has a key that this phone gave up: enrol again")
        account = self.parts.profile.account(self.server.base_url, request.username)
        if account is None:
            account = Account(self.server.base_url, request.username, self.client.app_id(request))
            self.parts.profile.save_account(account)
        self.parts.profile.save_keys(self.server.base_url, request.username, sorted(taken & held))
        message = "done before this phone was stopped"
        if account.target_id is None:
            message += ", but it knows no dispatch target of its own: enrol again for one"
        return Result("registration", request.username, StatusCode.OK, message, tuple(sorted(taken & held)))

    def _remove_what_was_made(self, request: RegistrationRequest) -> None:
        if not self.entry.record.target_key_ids:
            return  # it had not begun to make any
        app_id = self.client.app_id(request)
        for entry in self.parts.asm.registrations():
            made = base64url.encode(entry.key_id) not in self.entry.record.held
            # A second factor has no username.
            if made and entry.app_id == app_id and entry.username in {request.username, ""}:
                self.parts.asm.deregister(entry.aaid, app_id=app_id, key_id=entry.key_id)
        self._delete_target_keys()

    def _delete_target_keys(self) -> None:
        key_ids = (bytes.fromhex(key_id) for key_id in self.entry.record.target_key_ids)
        delete_target_keys(self.parts.store, *key_ids)


def _check_open(operation: str, status: StatusResponse | None) -> None:
    if status is not None and state_of(status) == "failed":
        code = status.uafStatusCode or 0
        reason = "it ran out of time" if code == StatusCode.REQUEST_TIMEOUT else f"it is {status.status}"
        raise ServerRefusedError(code, f"the {operation} was cut off and cannot be finished, since {reason}")
