"""The ASM API as JSON in and out, over the typed Asm (UAF ASM API 1.1, 3 and 4; digest section 8)."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from msgspec import UNSET

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.asm_messages import (
    ASM_VERSIONS,
    AppRegistration,
    AsmRequest,
    AsmResponse,
    AssertionOut,
    AuthenticateIn,
    AuthenticatorInfo,
    DeregisterIn,
    GetInfoOut,
    GetRegistrationsOut,
    RegisterIn,
)
from fidoloop.authenticator.card_model import CardModel
from fidoloop.authenticator.errors import AsmError
from fidoloop.authenticator.models import Model
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.extensions import first_unknown_required
from fidoloop.protocol.uaf.messages import V1_0
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME
from fidoloop.protocol.uaf.status import AsmStatus

MAX_REQUEST_CHARACTERS: Final = 1 << 17
Data = GetInfoOut | AssertionOut | GetRegistrationsOut | None
T = TypeVar("T")


class AsmApi:
    """One ASM to its caller: the authenticators of each Asm, one after the other, are told apart by their index.

    An Asm is one key store, so that of several stores each has an authenticator per model. The Asms know the caller
    (CallerID and PersonaID): who may use which key is theirs to say.
    """

    def __init__(self, asms: Sequence[Asm]) -> None:
        """Take the Asms, all of one caller."""
        self._authenticators: Final = [(asm, aaid) for asm in asms for aaid in asm.authenticators]
        self._requests: dict[str, Callable[[Asm, str, AsmRequest], Data]] = {
            "Register": _register,
            "Authenticate": _authenticate,
            "Deregister": _deregister,
            "GetRegistrations": _get_registrations,
            "OpenSettings": _open_settings,
        }

    def request(self, text: str) -> str:
        """Answer the JSON of an ASMRequest with that of an ASMResponse; nothing is raised.

        What is no request, or one of a version or with an extension that is not known, is answered ERROR; an index
        nothing has, AUTHENTICATOR_DISCONNECTED.
        """
        try:
            if len(text) > MAX_REQUEST_CHARACTERS:
                raise MalformedError("$", "too long")
            data = self._answer(strictjson.decode(text, AsmRequest))
            response = AsmResponse(AsmStatus.OK, UNSET if data is None else data)
        except MalformedError:
            response = AsmResponse(AsmStatus.ERROR)
        except AsmError as error:
            response = AsmResponse(error.status)
        return strictjson.encode(response)

    def _answer(self, request: AsmRequest) -> Data:
        if first_unknown_required(request.exts or (), frozenset()) is not None:
            raise AsmError(AsmStatus.ERROR, "an extension that must be understood is not")
        if request.requestType == "GetInfo":
            return self._get_info()
        if request.asmVersion not in ASM_VERSIONS:
            raise AsmError(AsmStatus.ERROR, "a version of the ASM API that is not supported")
        index = request.authenticatorIndex
        if index is UNSET:
            raise MalformedError("$.authenticatorIndex", "is missing")
        if index >= len(self._authenticators):
            raise AsmError(AsmStatus.AUTHENTICATOR_DISCONNECTED, f"no authenticator {index}")
        asm, aaid = self._authenticators[index]
        return self._requests[request.requestType](asm, aaid, request)

    def _get_info(self) -> GetInfoOut:
        return GetInfoOut(
            tuple(
                authenticator_info(index, asm.authenticators[aaid].model)
                for index, (asm, aaid) in enumerate(self._authenticators)
            )
        )


def authenticator_info(index: int, model: Model | CardModel) -> AuthenticatorInfo:
    """Return what GetInfo tells of a model; its user is enrolled as soon as there is a token."""
    return AuthenticatorInfo(
        authenticatorIndex=index,
        asmVersions=ASM_VERSIONS,
        isUserEnrolled=True,
        hasSettings=False,
        aaid=model.aaid,
        assertionScheme=ASSERTION_SCHEME,
        authenticationAlgorithm=model.algorithm,
        attestationTypes=(model.attestation,),
        userVerification=int(model.verification),
        keyProtection=int(model.key_protection),
        matcherProtection=int(model.matcher_protection),
        attachmentHint=int(model.attachment_hint),
        isSecondFactorOnly=model.is_second_factor,
        isRoamingAuthenticator=isinstance(model, CardModel),
        supportedExtensionIDs=(),
        tcDisplay=model.tc_display,
        title="fidoloop",
        description=model.description,
        tcDisplayContentType=model.tc_display_content_type,
        tcDisplayPNGCharacteristics=model.images,
    )


def _args(request: AsmRequest, type_: type[T]) -> T:
    if request.args is UNSET:
        raise MalformedError("$.args", "is missing")
    return strictjson.convert(request.args, type_, "$.args")


def _register(asm: Asm, aaid: str, request: AsmRequest) -> Data:
    args = _args(request, RegisterIn)
    _, assertion = asm.register(
        aaid,
        app_id=args.appID,
        username=args.username,
        final_challenge=args.finalChallenge,
        attestation_type=args.attestationType,
    )
    return AssertionOut(base64url.encode(assertion), ASSERTION_SCHEME)


def _authenticate(asm: Asm, aaid: str, request: AsmRequest) -> Data:
    args = _args(request, AuthenticateIn)
    assertion = asm.authenticate(
        aaid,
        app_id=args.appID,
        final_challenge=args.finalChallenge,
        key_ids=[base64url.decode(key_id, "$.args.keyIDs") for key_id in args.keyIDs] if args.keyIDs else None,
        transactions=args.transaction or (),
    )
    return AssertionOut(base64url.encode(assertion), ASSERTION_SCHEME)


def _deregister(asm: Asm, aaid: str, request: AsmRequest) -> Data:
    args = _args(request, DeregisterIn)
    if not args.keyID and request.asmVersion == V1_0:
        raise MalformedError("$.args.keyID", "empty, which version 1.0 does not know")
    key_id = base64url.decode(args.keyID, "$.args.keyID") if args.keyID else None
    asm.deregister(aaid, app_id=args.appID, key_id=key_id)
    return None


def _get_registrations(asm: Asm, aaid: str, _request: AsmRequest) -> Data:
    held = asm.applications(aaid)
    return GetRegistrationsOut(
        tuple(AppRegistration(app_id, tuple(map(base64url.encode, key_ids))) for app_id, key_ids in held.items())
    )


def _open_settings(_asm: Asm, aaid: str, _request: AsmRequest) -> Data:
    raise AsmError(AsmStatus.ERROR, f"{aaid} has no settings to open")
