"""The ASM API's dictionaries (UAF ASM API 1.1, 3; digest section 8)."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol.uaf.extensions import Extensions
from fidoloop.protocol.uaf.messages import (
    V1_0,
    V1_1,
    AppId,
    DisplayPngCharacteristics,
    Transaction,
    UInt16,
    Username,
    Version,
)

ASM_VERSIONS = (V1_1, V1_0)

RequestType = Literal["GetInfo", "Register", "Authenticate", "Deregister", "GetRegistrations", "OpenSettings"]
FinalChallenge = Annotated[str, Meta(min_length=1, max_length=16384)]
KeyId = Annotated[str, Meta(max_length=2731)]  # base64url of at most 2,048 bytes


class AsmRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """ASMRequest; version and index are needed by everything but GetInfo, `args` is what the type says."""

    requestType: RequestType
    asmVersion: Version | UnsetType = UNSET
    authenticatorIndex: UInt16 | UnsetType = UNSET
    args: dict[str, Any] | UnsetType = UNSET
    exts: Extensions | UnsetType = UNSET


class AuthenticatorInfo(msgspec.Struct, frozen=True):
    """AuthenticatorInfo, without what our authenticators do not have (icon)."""

    authenticatorIndex: int
    asmVersions: tuple[Version, ...]
    isUserEnrolled: bool
    hasSettings: bool
    aaid: str
    assertionScheme: str
    authenticationAlgorithm: int
    attestationTypes: tuple[int, ...]
    userVerification: int
    keyProtection: int
    matcherProtection: int
    attachmentHint: int
    isSecondFactorOnly: bool
    isRoamingAuthenticator: bool
    supportedExtensionIDs: tuple[str, ...]
    tcDisplay: int
    title: str
    description: str
    tcDisplayContentType: str | UnsetType = UNSET
    tcDisplayPNGCharacteristics: tuple[DisplayPngCharacteristics, ...] | UnsetType = UNSET


class GetInfoOut(msgspec.Struct, frozen=True):
    """GetInfoOut; its one member is written with a capital."""

    Authenticators: tuple[AuthenticatorInfo, ...]


class RegisterIn(msgspec.Struct, frozen=True):
    """RegisterIn."""

    appID: AppId
    username: Username
    finalChallenge: FinalChallenge
    attestationType: UInt16


class AuthenticateIn(msgspec.Struct, frozen=True):
    """AuthenticateIn; without keyIDs all keys of the application are meant."""

    appID: AppId
    finalChallenge: FinalChallenge
    keyIDs: Annotated[tuple[KeyId, ...], Meta(min_length=1, max_length=1024)] | UnsetType = UNSET
    transaction: Annotated[tuple[Transaction, ...], Meta(min_length=1, max_length=32)] | UnsetType = UNSET


class AssertionOut(msgspec.Struct, frozen=True):
    """RegisterOut and AuthenticateOut; `assertion` is base64url."""

    assertion: str
    assertionScheme: str


class DeregisterIn(msgspec.Struct, frozen=True):
    """DeregisterIn; an empty keyID is all keys of the application (1.1)."""

    appID: AppId
    keyID: KeyId


class AppRegistration(msgspec.Struct, frozen=True):
    """AppRegistration: an application's keys."""

    appID: str
    keyIDs: tuple[str, ...]


class GetRegistrationsOut(msgspec.Struct, frozen=True):
    """GetRegistrationsOut; empty where there are no keys."""

    appRegs: tuple[AppRegistration, ...]


class AsmResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """ASMResponse; `responseData` only beside status 0, and only of requests that have any."""

    statusCode: int
    responseData: GetInfoOut | AssertionOut | GetRegistrationsOut | UnsetType = UNSET
