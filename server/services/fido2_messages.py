"""What the FIDO2 services read and write as JSON: nevisFIDO's shape (HTTP contract 12), and that of Janssen."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol.uaf.messages import Username
from fidoloop.protocol.webauthn.messages import (
    AuthenticatorSelection,
    Conveyance,
    CredentialDescriptor,
    CredentialParameters,
    RpEntity,
    UserEntity,
    UserVerification,
)

OK, FAILED = "ok", "failed"


class Fido2OptionsRequest(msgspec.Struct, frozen=True):
    """Options for a registration, or for an authentication; what tells them apart is the path, or the members.

    A registration has displayName, authenticatorSelection or attestation; an authentication has none of them.
    """

    username: Username | UnsetType = UNSET
    displayName: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET
    authenticatorSelection: AuthenticatorSelection | UnsetType = UNSET
    attestation: Conveyance | UnsetType = UNSET
    userVerification: UserVerification | UnsetType = UNSET
    documentDomain: str | UnsetType = UNSET
    extensions: dict[str, Any] | UnsetType = UNSET

    @property
    def is_registration(self) -> bool:
        """Whether a member of a registration is there."""
        members = (self.displayName, self.authenticatorSelection, self.attestation)
        return any(member is not UNSET for member in members)


class Fido2Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Creation or request options; `timeout` in milliseconds."""

    status: str
    errorMessage: str
    challenge: str
    timeout: int
    fido2SessionId: str | UnsetType = UNSET
    rp: RpEntity | UnsetType = UNSET
    user: UserEntity | str | UnsetType = UNSET
    pubKeyCredParams: tuple[CredentialParameters, ...] | UnsetType = UNSET
    excludeCredentials: tuple[CredentialDescriptor, ...] | UnsetType = UNSET
    authenticatorSelection: AuthenticatorSelection | UnsetType = UNSET
    attestation: Conveyance | UnsetType = UNSET
    rpId: str | UnsetType = UNSET
    allowCredentials: tuple[CredentialDescriptor, ...] | UnsetType = UNSET
    userVerification: UserVerification | UnsetType = UNSET
    extensions: dict[str, Any] | UnsetType = UNSET


class Fido2Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a result; `errorMessage` says what was wrong where `status` is failed."""

    status: str
    errorMessage: str
    fido2SessionId: str | UnsetType = UNSET
    createdCredentials: CredentialDescriptor | UnsetType = UNSET
    authenticatedCredentials: CredentialDescriptor | UnsetType = UNSET


class Fido2StatusRequest(msgspec.Struct, frozen=True):
    """Asks for a ceremony's status."""

    fido2SessionId: Annotated[str, Meta(max_length=64)]


class Fido2Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """initialized, succeeded, failed, or unknown; `timestamp` in ISO 8601, UTC. The rest where it succeeded."""

    status: str
    timestamp: str
    userId: str | UnsetType = UNSET
    credentialId: str | UnsetType = UNSET
    userVerified: bool | UnsetType = UNSET


class Fido2Endpoints(msgspec.Struct, frozen=True):
    """Where one ceremony's services are; each under both spellings that are in use."""

    base_path: str
    options_enpoint: str
    options_endpoint: str
    result_enpoint: str
    result_endpoint: str


class Fido2Configuration(msgspec.Struct, frozen=True):
    """The discovery document."""

    version: str
    issuer: str
    attestation: Fido2Endpoints
    assertion: Fido2Endpoints
