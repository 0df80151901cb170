"""PublicKeyCredential and its options as JSON (WebAuthn 5.1.8 to 5.1.10; HTTP contract 12)."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

UserVerification = Literal["required", "preferred", "discouraged"]
Conveyance = Literal["none", "indirect", "direct", "enterprise"]
_MAX_ID = 1366
Base64Url = str
Id = Annotated[str, Meta(min_length=1, max_length=_MAX_ID)]


class CredentialProperties(msgspec.Struct, frozen=True):
    """The output of credProps (10.1.3)."""

    rk: bool | UnsetType = UNSET


class RegistrationOutputs(msgspec.Struct, frozen=True):
    """The client extension outputs that are looked at."""

    credProps: CredentialProperties | UnsetType = UNSET


class AuthenticationOutputs(msgspec.Struct, frozen=True):
    """The client extension outputs that are looked at."""

    appid: bool | UnsetType = UNSET


class AttestationResponse(msgspec.Struct, frozen=True):
    """AuthenticatorAttestationResponse; both members base64url."""

    clientDataJSON: Base64Url
    attestationObject: Base64Url
    transports: Annotated[tuple[Annotated[str, Meta(max_length=32)], ...], Meta(max_length=16)] | UnsetType = UNSET


class AssertionResponse(msgspec.Struct, frozen=True):
    """AuthenticatorAssertionResponse; all members base64url."""

    clientDataJSON: Base64Url
    authenticatorData: Base64Url
    signature: Base64Url
    userHandle: Base64Url | UnsetType | None = UNSET


class RegistrationCredential(msgspec.Struct, frozen=True):
    """What navigator.credentials.create() gave; `rawId` says the same as `id` where it is there."""

    id: Id
    type: Literal["public-key"]
    response: AttestationResponse
    rawId: Id | UnsetType = UNSET
    clientExtensionResults: RegistrationOutputs | UnsetType = UNSET


class AuthenticationCredential(msgspec.Struct, frozen=True):
    """What navigator.credentials.get() gave; `rawId` says the same as `id` where it is there."""

    id: Id
    type: Literal["public-key"]
    response: AssertionResponse
    rawId: Id | UnsetType = UNSET
    clientExtensionResults: AuthenticationOutputs | UnsetType = UNSET


class CredentialDescriptor(msgspec.Struct, frozen=True, omit_defaults=True):
    """PublicKeyCredentialDescriptor."""

    type: str
    id: Base64Url
    transports: tuple[str, ...] | UnsetType = UNSET


class AuthenticatorSelection(msgspec.Struct, frozen=True, omit_defaults=True):
    """AuthenticatorSelectionCriteria."""

    authenticatorAttachment: Literal["platform", "cross-platform"] | UnsetType = UNSET
    residentKey: Literal["required", "preferred", "discouraged"] | UnsetType = UNSET
    requireResidentKey: bool | UnsetType = UNSET
    userVerification: UserVerification | UnsetType = UNSET


class RpEntity(msgspec.Struct, frozen=True):
    """PublicKeyCredentialRpEntity."""

    id: str
    name: str


class UserEntity(msgspec.Struct, frozen=True):
    """PublicKeyCredentialUserEntity; `id` is the user handle."""

    id: Base64Url
    name: str
    displayName: str


class CredentialParameters(msgspec.Struct, frozen=True):
    """PublicKeyCredentialParameters; `alg` is a COSE algorithm."""

    type: str
    alg: int


class CreationOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """PublicKeyCredentialCreationOptions; `timeout` in milliseconds."""

    challenge: Base64Url
    rp: RpEntity
    user: UserEntity
    pubKeyCredParams: tuple[CredentialParameters, ...]
    timeout: int
    excludeCredentials: tuple[CredentialDescriptor, ...]
    authenticatorSelection: AuthenticatorSelection
    attestation: Conveyance
    extensions: dict[str, Any] | UnsetType = UNSET


class RequestOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """PublicKeyCredentialRequestOptions; `timeout` in milliseconds."""

    challenge: Base64Url
    rpId: str
    timeout: int
    allowCredentials: tuple[CredentialDescriptor, ...]
    userVerification: UserVerification
    extensions: dict[str, Any] | UnsetType = UNSET
