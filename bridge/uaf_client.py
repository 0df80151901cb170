"""The UAF client: from a request of the server to its response.

UAF protocol 3.4.6, 3.5.7, 3.6; digest section 5, "Client steps".

It checks version, extensions and facet, lets the policy choose among the phone's authenticators, and asks the ASM.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.asm_messages import ASM_VERSIONS
from fidoloop.authenticator.errors import AsmError
from fidoloop.bridge.errors import ClientFailureError
from fidoloop.bridge.facet_lists import FacetLists
from fidoloop.bridge.facets import Fetch, check_facet
from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import final_challenge
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.extensions import Extension, first_unknown_required
from fidoloop.protocol.uaf.final_challenge import FinalChallengeParams
from fidoloop.protocol.uaf.messages import (
    V1_0,
    AuthenticationRequest,
    AuthenticatorAssertion,
    DeregistrationRequest,
    RegistrationRequest,
    Transaction,
    UafResponse,
    Version,
    decode_request,
)
from fidoloop.protocol.uaf.png import is_displayable
from fidoloop.protocol.uaf.policy import AuthenticatorFacts, MatchCriteria, Policy, choose, policy_extensions
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, Algorithm
from fidoloop.protocol.uaf.status import CLIENT_ERROR_OF_ASM_STATUS, AsmStatus, ClientError
from fidoloop.protocol.uaf.transactions import IMAGE_PNG, transaction_content
from fidoloop.protocol.uaf.version_negotiation import CLIENT_PAIRS, negotiate

# One ASM is behind this client, so that every authenticator comes to the same pair of versions.
SUPPORTED_VERSIONS: tuple[Version, ...] = tuple(
    sorted(
        {pair.upv for pair in CLIENT_PAIRS if negotiate([pair.upv], ASM_VERSIONS) is not None},
        key=lambda version: (version.major, version.minor),
        reverse=True,
    )
)
_TRY_OTHERS = frozenset({AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES, AsmStatus.AUTHENTICATOR_DISCONNECTED})

UafRequest = RegistrationRequest | AuthenticationRequest | DeregistrationRequest


_UNBOUND = ChannelBinding()


class Outcome(msgspec.Struct, frozen=True):
    """A response to send, the AAID and KeyID (base64url) of each key that took part, and the AppID they belong to."""

    response: UafResponse
    keys: tuple[tuple[str, str], ...]
    app_id: str


class UafClient:
    """A UAF client for one caller: its FacetID, its ASM, and how it fetches facet lists."""

    def __init__(
        self, asm: Asm, *, facet_id: str, fetch: Fetch, lists: FacetLists | None = None, insecure: bool = False
    ) -> None:
        """Take the parts, and the facet lists kept from earlier; nothing is fetched before an operation."""
        self._asm = asm
        self._facet_id = facet_id
        self._fetch = fetch
        self._lists = lists
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
            raise ClientFailureError(ClientError.UNSUPPORTED_VERSION, "no message of UAF 1.1 or 1.0 in the request")
        if request.header.upv == V1_0 and _has_wildcard(request):
            raise ClientFailureError(ClientError.PROTOCOL_ERROR, "UAF 1.0 knows no wildcards")
        return request

    def app_id(self, request: UafRequest) -> str:
        """Return the AppID of `request` after checking what holds for every operation: extensions, then the facet.

        Raises:
            ClientFailureError: PROTOCOL_ERROR for an extension that must be understood and is not;
                INSECURE_TRANSPORT for a web page without TLS; UNTRUSTED_FACET_ID.
        """
        if self._facet_id.startswith("http:") and not self._insecure:
            raise ClientFailureError(ClientError.INSECURE_TRANSPORT, f"{self._facet_id} is a page without TLS")
        unknown = first_unknown_required(_extensions(request))
        if unknown is not None:
            raise ClientFailureError(ClientError.PROTOCOL_ERROR, f"extension {unknown} must be understood and is not")
        return check_facet(
            app_id=request.header.appID or "",
            facet_id=self._facet_id,
            version=request.header.upv,
            fetch=self._fetch,
            lists=self._lists,
            insecure=self._insecure,
        )

    def check(self, request: UafRequest) -> None:
        """Tell whether the request could be carried out, asking nobody (checkPolicy).

        Raises:
            ClientFailureError: as the operation would, up to the choice of authenticators.
        """
        app_id = self.app_id(request)
        if isinstance(request, RegistrationRequest):
            _choose(request.policy, self._authenticators(app_id))
        elif isinstance(request, AuthenticationRequest):
            _check_transactions(request.transaction or ())
            _choose(request.policy, self._registered(app_id, request.policy))

    def register(
        self,
        request: RegistrationRequest,
        channel_binding: ChannelBinding = _UNBOUND,
        *,
        algorithm: Algorithm | None = None,
    ) -> Outcome:
        """Register one key per criteria of the first policy alternative that this phone can meet.

        An authenticator that is full or not there gives way to others that the policy accepts. With `algorithm` only
        authenticators whose keys are of it are offered to the policy.

        Raises:
            ClientFailureError: with the client's code and, where the ASM refused, its status.
        """
        app_id = self.app_id(request)
        fc_params = self._final_challenge(app_id, request.challenge, channel_binding)

        def attempt(chosen: Chosen) -> Outcome:
            assertions: list[AuthenticatorAssertion] = []
            keys: list[tuple[str, str]] = []
            for facts, criteria in chosen:
                try:
                    key_id, assertion = self._asm.register(
                        facts.aaid,
                        app_id=app_id,
                        username=request.username,
                        final_challenge=fc_params,
                        attestation_type=_attestation_type(facts, criteria),
                    )
                except AsmError as error:
                    self._undo(app_id, keys)
                    raise _RefusedError(facts, error) from error
                images = self._asm.images(facts.aaid)
                assertions.append(AuthenticatorAssertion(ASSERTION_SCHEME, base64url.encode(assertion), images))
                keys.append((facts.aaid, base64url.encode(key_id)))
            return Outcome(UafResponse(request.header, fc_params, tuple(assertions)), tuple(keys), app_id)

        offered = self._authenticators(app_id)
        if algorithm is not None:
            offered = [facts for facts in offered if int(algorithm) in facts.algorithms]
        return _with_whom_it_works(attempt, request.policy, offered)

    def authenticate(self, request: AuthenticationRequest, channel_binding: ChannelBinding = _UNBOUND) -> Outcome:
        """Sign with one key per criteria of the first policy alternative that this phone holds keys for.

        Raises:
            ClientFailureError: as `register`.
        """
        app_id = self.app_id(request)
        _check_transactions(request.transaction or ())
        fc_params = self._final_challenge(app_id, request.challenge, channel_binding)

        def attempt(chosen: Chosen) -> Outcome:
            assertions: list[AuthenticatorAssertion] = []
            keys: list[tuple[str, str]] = []
            for facts, criteria in chosen:
                wanted = facts.key_ids.intersection(criteria.keyIDs) if criteria.keyIDs else facts.key_ids
                if not criteria.keyIDs and self._asm.wants_handles(facts.aaid):
                    wanted = frozenset()  # the handle is the server's to give
                try:
                    assertion = self._asm.authenticate(
                        facts.aaid,
                        app_id=app_id,
                        final_challenge=fc_params,
                        key_ids=[base64url.decode(key_id) for key_id in sorted(wanted)],
                        transactions=request.transaction or (),
                    )
                except AsmError as error:
                    raise _RefusedError(facts, error) from error
                assertions.append(AuthenticatorAssertion(ASSERTION_SCHEME, base64url.encode(assertion)))
                # Of several accounts the user chose one: the assertion says which key it was.
                key_id = parse_authentication_assertion(assertion).key_id
                keys.append((facts.aaid, base64url.encode(key_id)))
            return Outcome(UafResponse(request.header, fc_params, tuple(assertions)), tuple(keys), app_id)

        return _with_whom_it_works(attempt, request.policy, self._registered(app_id, request.policy))

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

    def failed_response(
        self, request: RegistrationRequest | AuthenticationRequest, channel_binding: ChannelBinding = _UNBOUND
    ) -> UafResponse:
        """Return the response without assertions by which a client's failure is told to the server (seed 002)."""
        app_id = request.header.appID or self._facet_id
        return UafResponse(request.header, self._final_challenge(app_id, request.challenge, channel_binding), ())

    def undo(self, outcome: Outcome) -> None:
        """Delete the keys of an outcome that the server did not take. Raises ClientFailureError."""
        try:
            self._undo(outcome.app_id, outcome.keys)
        except AsmError as error:
            raise _failure(error) from error

    def _undo(self, app_id: str, keys: Sequence[tuple[str, str]]) -> None:
        for aaid, key_id in keys:
            self._asm.deregister(aaid, app_id=app_id, key_id=base64url.decode(key_id))

    def _final_challenge(self, app_id: str, challenge: str, channel_binding: ChannelBinding) -> str:
        return final_challenge.encode(
            FinalChallengeParams(
                appID=app_id, challenge=challenge, facetID=self._facet_id, channelBinding=channel_binding
            )
        )

    def _registered(self, app_id: str, policy: Policy) -> list[AuthenticatorFacts]:
        """Return the authenticators that have a key of the application.

        Which keys a roaming one has nobody here knows: those that the policy names, or where it names none, some.
        """
        criteria = (one for alternative in policy.accepted for one in alternative)
        named = frozenset(key_id for one in criteria for key_id in one.keyIDs or ())
        found = []
        for facts in self._authenticators(app_id):
            if facts.key_ids:
                found.append(facts)
            elif self._asm.is_roaming(facts.aaid) and (named or self._holds(facts.aaid, app_id)):
                found.append(msgspec.structs.replace(facts, key_ids=named))
        return found

    def _holds(self, aaid: str, app_id: str) -> bool:
        try:
            return self._asm.holds(aaid, app_id)
        except AsmError as error:
            raise _failure(error) from error

    def _authenticators(self, app_id: str) -> list[AuthenticatorFacts]:
        try:
            return self._asm.get_info(app_id)
        except AsmError as error:
            raise _failure(error) from error


class _RefusedError(Exception):
    """An authenticator's ASM refused."""

    def __init__(self, facts: AuthenticatorFacts, error: AsmError) -> None:
        super().__init__(str(error))
        self.facts = facts
        self.error = error


Chosen = list[tuple[AuthenticatorFacts, MatchCriteria]]


def _with_whom_it_works(
    attempt: Callable[[Chosen], Outcome], policy: Policy, authenticators: list[AuthenticatorFacts]
) -> Outcome:
    """Try with the authenticators the policy prefers; leave out one that is full or gone, and choose again (3.2)."""
    chosen = _choose(policy, authenticators)
    while True:
        try:
            return attempt(chosen)
        except _RefusedError as refused:
            authenticators = [facts for facts in authenticators if facts is not refused.facts]
            if refused.error.status not in _TRY_OTHERS or choose(policy, authenticators) is None:
                raise _failure(refused.error) from refused.error
        chosen = _choose(policy, authenticators)


def _attestation_type(facts: AuthenticatorFacts, criteria: MatchCriteria) -> int:
    """Return the one type to attest by: the first of the policy's list that the authenticator has."""
    preferred = criteria.attestationTypes or sorted(facts.attestation_types)
    return next(kind for kind in preferred if kind in facts.attestation_types)


def _check_transactions(transactions: Sequence[Transaction]) -> None:
    """Hold each image against the characteristics that come with it (UAF protocol 3.5.7)."""
    for index, transaction in enumerate(transactions):
        if transaction.contentType != IMAGE_PNG:
            continue
        where = f"$.transaction[{index}]"
        characteristics = transaction.tcDisplayPNGCharacteristics
        if characteristics is UNSET:
            raise ClientFailureError(ClientError.PROTOCOL_ERROR, f"{where}: a PNG without its display characteristics")
        try:
            fits = is_displayable(transaction_content(transaction, where), characteristics, f"{where}.content")
        except MalformedError as error:
            raise ClientFailureError(ClientError.INVALID_TRANSACTION_CONTENT, str(error)) from None
        if not fits:
            detail = f"{where}: the image is not what its display characteristics say"
            raise ClientFailureError(ClientError.INVALID_TRANSACTION_CONTENT, detail)


def _choose(policy: Policy, authenticators: Sequence[AuthenticatorFacts]) -> Chosen:
    """Return the authenticators of the first alternative they can meet, each with its criteria."""
    choice = choose(policy, authenticators)
    if choice is not None:
        alternative = policy.accepted[choice.alternative]
        return [(authenticators[index], alternative[at]) for at, index in enumerate(choice.candidates)]
    offered = ", ".join(facts.aaid for facts in authenticators) or "none"
    raise ClientFailureError(
        ClientError.NO_SUITABLE_AUTHENTICATOR, f"the policy accepts none of the authenticators offered ({offered})"
    )


def _has_wildcard(request: UafRequest) -> bool:
    return isinstance(request, DeregistrationRequest) and not all(
        entry.aaid and entry.keyID for entry in request.authenticators
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
