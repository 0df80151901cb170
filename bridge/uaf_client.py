"""The UAF client: from a request of the server to its response.

UAF protocol 3.4.6, 3.5.7, 3.6; digest section 5, "Client steps".

It checks version, extensions and facet, lets the policy choose among the phone's authenticators, and asks the ASM.
"""

from collections.abc import Sequence

import msgspec

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.errors import AsmError
from fidoloop.bridge.errors import ClientFailureError
from fidoloop.bridge.facets import Fetch, check_facet
from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import final_challenge
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.extensions import Extension, first_unknown_required
from fidoloop.protocol.uaf.final_challenge import FinalChallengeParams
from fidoloop.protocol.uaf.messages import (
    V1_1,
    AuthenticationRequest,
    AuthenticatorAssertion,
    DeregistrationRequest,
    RegistrationRequest,
    UafResponse,
    Version,
    decode_request,
)
from fidoloop.protocol.uaf.policy import AuthenticatorFacts, MatchCriteria, Policy, choose, policy_extensions
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME
from fidoloop.protocol.uaf.status import CLIENT_ERROR_OF_ASM_STATUS, AsmStatus, ClientError

SUPPORTED_VERSIONS: tuple[Version, ...] = (V1_1,)

UafRequest = RegistrationRequest | AuthenticationRequest | DeregistrationRequest


class Outcome(msgspec.Struct, frozen=True):
    """A response to send, the AAID and KeyID (base64url) of each key that took part, and the AppID they belong to."""

    response: UafResponse
    keys: tuple[tuple[str, str], ...]
    app_id: str


class UafClient:
    """A UAF client for one caller: its FacetID, its ASM, and how it fetches facet lists."""

    def __init__(self, asm: Asm, *, facet_id: str, fetch: Fetch, insecure: bool = False) -> None:
        """Take the parts; nothing is fetched before an operation."""
        self._asm = asm
        self._facet_id = facet_id
        self._fetch = fetch
        self._insecure = insecure

    def read(self, uaf_request: str) -> UafRequest:
        """Return the message of a uafRequest text, of the highest version this client speaks.

        Raises:
            ClientFailureError: PROTOCOL_ERROR or UNSUPPORTED_VERSION. There is no header yet to answer with.
        """
        try:
            request = decode_request(uaf_request, SUPPORTED_VERSIONS)
        except MalformedError as error:
            raise ClientFailureError(ClientError.PROTOCOL_ERROR, str(error)) from None
        if request is None:
            raise ClientFailureError(ClientError.UNSUPPORTED_VERSION, "no message of UAF 1.1 in the request")
        return request

    def app_id(self, request: UafRequest) -> str:
        """Return the AppID of `request` after checking what holds for every operation: extensions, then the facet.

        Raises:
            ClientFailureError: PROTOCOL_ERROR for an extension that must be understood and is not;
                UNTRUSTED_FACET_ID.
        """
        unknown = first_unknown_required(_extensions(request))
        if unknown is not None:
            raise ClientFailureError(ClientError.PROTOCOL_ERROR, f"extension {unknown} must be understood and is not")
        return check_facet(
            app_id=request.header.appID or "",
            facet_id=self._facet_id,
            version=request.header.upv,
            fetch=self._fetch,
            insecure=self._insecure,
        )

    def register(self, request: RegistrationRequest) -> Outcome:
        """Register one key per criteria of the first policy alternative that this phone can meet.

        Raises:
            ClientFailureError: with the client's code and, where the ASM refused, its status.
        """
        app_id = self.app_id(request)
        fc_params = self._final_challenge(app_id, request.challenge)
        chosen = _choose(request.policy, self._authenticators(app_id))
        assertions: list[AuthenticatorAssertion] = []
        keys: list[tuple[str, str]] = []
        for facts, _ in chosen:
            (attestation_type,) = facts.attestation_types
            try:
                key_id, assertion = self._asm.register(
                    facts.aaid,
                    app_id=app_id,
                    username=request.username,
                    final_challenge=fc_params,
                    attestation_type=attestation_type,
                )
            except AsmError as error:
                self._undo(app_id, keys)
                raise _failure(error) from error
            assertions.append(AuthenticatorAssertion(ASSERTION_SCHEME, base64url.encode(assertion)))
            keys.append((facts.aaid, base64url.encode(key_id)))
        return Outcome(UafResponse(request.header, fc_params, tuple(assertions)), tuple(keys), app_id)

    def authenticate(self, request: AuthenticationRequest) -> Outcome:
        """Sign with one key per criteria of the first policy alternative that this phone holds keys for.

        Raises:
            ClientFailureError: as `register`.
        """
        app_id = self.app_id(request)
        fc_params = self._final_challenge(app_id, request.challenge)
        assertions: list[AuthenticatorAssertion] = []
        keys: list[tuple[str, str]] = []
        registered = [facts for facts in self._authenticators(app_id) if facts.key_ids]
        for facts, criteria in _choose(request.policy, registered):
            wanted = facts.key_ids.intersection(criteria.keyIDs) if criteria.keyIDs else facts.key_ids
            try:
                assertion = self._asm.authenticate(
                    facts.aaid,
                    app_id=app_id,
                    final_challenge=fc_params,
                    key_ids=[base64url.decode(key_id) for key_id in sorted(wanted)],
                    transactions=request.transaction or (),
                )
            except AsmError as error:
                raise _failure(error) from error
            assertions.append(AuthenticatorAssertion(ASSERTION_SCHEME, base64url.encode(assertion)))
            # Of several accounts the user chose one: the assertion says which key it was.
            key_id = parse_authentication_assertion(assertion).key_id
            keys.append((facts.aaid, base64url.encode(key_id)))
        return Outcome(UafResponse(request.header, fc_params, tuple(assertions)), tuple(keys), app_id)

    def deregister(self, request: DeregistrationRequest) -> tuple[tuple[str, str], ...]:
        """Delete the keys named; return the (AAID, KeyID) pairs deleted. Unknown AAIDs and keys succeed silently.

        Raises:
            ClientFailureError: PROTOCOL_ERROR for a keyID that is not base64url, or the ASM's refusal.
        """
        app_id = self.app_id(request)
        try:
            named = [
                (entry.aaid.upper(), base64url.decode(entry.keyID, "$.keyID") if entry.keyID else None)
                for entry in request.authenticators
            ]
        except MalformedError as error:
            raise ClientFailureError(ClientError.PROTOCOL_ERROR, str(error)) from None
        deleted: list[tuple[str, str]] = []
        for wanted, key_id in named:
            for aaid in self._asm.authenticators:
                if wanted not in ("", aaid):
                    continue
                try:
                    gone = self._asm.deregister(aaid, app_id=app_id, key_id=key_id)
                except AsmError as error:
                    raise _failure(error) from error
                deleted.extend((aaid, base64url.encode(key)) for key in gone)
        return tuple(deleted)

    def failed_response(self, request: RegistrationRequest | AuthenticationRequest) -> UafResponse:
        """Return the response without assertions by which a client's failure is told to the server (seed 002)."""
        app_id = request.header.appID or self._facet_id
        return UafResponse(request.header, self._final_challenge(app_id, request.challenge), ())

    def undo(self, outcome: Outcome) -> None:
        """Delete the keys of a registration that the server did not take."""
        self._undo(outcome.app_id, outcome.keys)

    def _undo(self, app_id: str, keys: Sequence[tuple[str, str]]) -> None:
        for aaid, key_id in keys:
            self._asm.deregister(aaid, app_id=app_id, key_id=base64url.decode(key_id))

    def _final_challenge(self, app_id: str, challenge: str) -> str:
        return final_challenge.encode(
            FinalChallengeParams(
                appID=app_id, challenge=challenge, facetID=self._facet_id, channelBinding=ChannelBinding()
            )
        )

    def _authenticators(self, app_id: str) -> list[AuthenticatorFacts]:
        try:
            return self._asm.get_info(app_id)
        except AsmError as error:
            raise _failure(error) from error


def _choose(
    policy: Policy, authenticators: Sequence[AuthenticatorFacts]
) -> list[tuple[AuthenticatorFacts, MatchCriteria]]:
    """Return the authenticators of the first alternative they can meet, each with its criteria."""
    choice = choose(policy, authenticators)
    if choice is not None:
        alternative = policy.accepted[choice.alternative]
        return [(authenticators[index], alternative[at]) for at, index in enumerate(choice.candidates)]
    offered = ", ".join(facts.aaid for facts in authenticators) or "none"
    raise ClientFailureError(
        ClientError.NO_SUITABLE_AUTHENTICATOR, f"the policy accepts none of this phone's authenticators ({offered})"
    )


def _extensions(request: UafRequest) -> list[Extension]:
    """Return every extension of a message, wherever it stands."""
    found = list(request.header.exts or ())
    if not isinstance(request, DeregistrationRequest):
        found.extend(policy_extensions(request.policy))
    return found


def _failure(error: AsmError) -> ClientFailureError:
    code = CLIENT_ERROR_OF_ASM_STATUS.get(AsmStatus(error.status), ClientError.UNKNOWN)
    return ClientFailureError(code, error.detail, AsmStatus(error.status))
