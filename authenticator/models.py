"""Models: one AAID is one model with one metadata statement (design, "AAID").

An AAID is `F10B#ssav`: ss = kind of key store, a = algorithm, encoding and attestation, v = user verification.
"""

import base64
from enum import Enum

import msgspec
from msgspec import UNSET

from fidoloop.authenticator.attestation import load_attestation
from fidoloop.hsm.keystore import KeyStore, TokenInfo
from fidoloop.protocol.uaf.messages import V1_1
from fidoloop.protocol.uaf.metadata import CodeAccuracy, MetadataStatement, VerificationMethod
from fidoloop.protocol.uaf.registry import (
    ASSERTION_SCHEME,
    Algorithm,
    AttachmentHint,
    AttestationType,
    KeyProtection,
    MatcherProtection,
    PublicKeyFormat,
    TransactionConfirmationDisplay,
    UserVerification,
)
from fidoloop.protocol.uaf.transactions import TEXT_PLAIN

VENDOR = "F10B"
AUTHENTICATOR_VERSION = 1


class StoreKind(Enum):
    """ss: the kind of key store, and what it may claim."""

    SOFTHSM = "01"
    SOFTWARE_TOKEN = "02"  # noqa: S105 - a model number
    HARDWARE_TOKEN = "03"  # noqa: S105 - a model number
    PIV_CARD = "04"
    SIMULATED_PIV_CARD = "05"
    TPM = "06"
    ADOPTED = "07"
    UAF_CARD = "08"

    @classmethod
    def of(cls, token: TokenInfo) -> "StoreKind":
        """Return the kind of a token, by what it says about itself."""
        if token.kind == "softhsm":
            return cls.SOFTHSM
        if token.kind == "tpm" and token.hardware:  # swtpm and its like are software tokens among others
            return cls.TPM
        if token.kind == "piv":
            return cls.PIV_CARD if token.hardware else cls.SIMULATED_PIV_CARD
        return cls.HARDWARE_TOKEN if token.hardware else cls.SOFTWARE_TOKEN


class KeyKind(msgspec.Struct, frozen=True):
    """a: algorithm and encoding of the user key, and how it is attested."""

    digit: str
    name: str
    algorithm: Algorithm
    key_format: PublicKeyFormat
    attestation: AttestationType


# Full attestation comes first: a client offers models in this order, and the policy decides.
KEY_KINDS: tuple[KeyKind, ...] = (
    KeyKind(
        "1",
        "P-256",
        Algorithm.SECP256R1_ECDSA_SHA256_RAW,
        PublicKeyFormat.ECC_X962_RAW,
        AttestationType.BASIC_FULL,
    ),
    KeyKind(
        "2",
        "P-256 DER",
        Algorithm.SECP256R1_ECDSA_SHA256_DER,
        PublicKeyFormat.ECC_X962_DER,
        AttestationType.BASIC_FULL,
    ),
    KeyKind(
        "9",
        "P-256, surrogate",
        Algorithm.SECP256R1_ECDSA_SHA256_RAW,
        PublicKeyFormat.ECC_X962_RAW,
        AttestationType.BASIC_SURROGATE,
    ),
    KeyKind(
        "A",
        "P-256 DER, surrogate",
        Algorithm.SECP256R1_ECDSA_SHA256_DER,
        PublicKeyFormat.ECC_X962_DER,
        AttestationType.BASIC_SURROGATE,
    ),
)

_VERIFICATION_DIGITS = {
    UserVerification.PASSCODE: "1",
    UserVerification.PRESENCE: "2",
    UserVerification.NONE: "3",
}
_VERIFICATION_NAMES = {
    UserVerification.PASSCODE: "token PIN",
    UserVerification.PRESENCE: "presence",
    UserVerification.NONE: "no verification",
}
_STORE_NAMES = {
    StoreKind.SOFTHSM: "SoftHSM token",
    StoreKind.SOFTWARE_TOKEN: "PKCS#11 software token",
    StoreKind.HARDWARE_TOKEN: "PKCS#11 hardware token",
    StoreKind.PIV_CARD: "PIV card",
    StoreKind.SIMULATED_PIV_CARD: "simulated PIV card",
    StoreKind.TPM: "TPM 2.0",
    StoreKind.ADOPTED: "adopted key",
    StoreKind.UAF_CARD: "virtual UAF card",
}
_HARDWARE = {StoreKind.HARDWARE_TOKEN, StoreKind.PIV_CARD, StoreKind.TPM}


class Model(msgspec.Struct, frozen=True):
    """One authenticator model: what it is and what it may claim."""

    store: StoreKind
    key_kind: KeyKind
    verification: UserVerification

    @property
    def aaid(self) -> str:
        """AAID, upper case."""
        return f"{VENDOR}#{self.store.value}{self.key_kind.digit}{_VERIFICATION_DIGITS[self.verification]}"

    @property
    def description(self) -> str:
        """Name for people."""
        store, verification = _STORE_NAMES[self.store], _VERIFICATION_NAMES[self.verification]
        return f"fidoloop {store}, {self.key_kind.name}, {verification}"

    @property
    def key_protection(self) -> KeyProtection:
        """HARDWARE only where the token says it is hardware."""
        return KeyProtection.HARDWARE if self.store in _HARDWARE else KeyProtection.SOFTWARE

    @property
    def matcher_protection(self) -> MatcherProtection:
        """ON_CHIP where a hardware token itself compares the PIN."""
        on_chip = self.store in _HARDWARE and self.verification is UserVerification.PASSCODE
        return MatcherProtection.ON_CHIP if on_chip else MatcherProtection.SOFTWARE

    @property
    def tc_display(self) -> int:
        """ANY where somebody is there to read a transaction, 0 (none) for silent models and cards."""
        shows_nothing = self.verification is UserVerification.NONE or self.store is StoreKind.UAF_CARD
        return 0 if shows_nothing else int(TransactionConfirmationDisplay.ANY)

    @property
    def attachment_hint(self) -> AttachmentHint:
        """The phone and its token are one thing to the client; a card is put into a reader."""
        card = self.store is StoreKind.UAF_CARD
        return AttachmentHint.EXTERNAL | AttachmentHint.WIRED if card else AttachmentHint.INTERNAL


def models_of(token: TokenInfo, verification: UserVerification) -> tuple[Model, ...]:
    """Return the models a token can be with this verification, in order of preference.

    One that makes no keys can only have the phone adopt those in it.
    """
    if not token.makes_keys:
        return adopted_models(verification)
    store = StoreKind.of(token)
    return tuple(Model(store, key_kind, verification) for key_kind in KEY_KINDS)


def adopted_models(verification: UserVerification) -> tuple[Model, ...]:
    """Return the models of keys a phone adopted: nobody knows where they were made, so nothing is claimed of that."""
    return tuple(
        Model(StoreKind.ADOPTED, key_kind, verification)
        for key_kind in KEY_KINDS
        if key_kind.attestation is AttestationType.BASIC_SURROGATE
    )


def card_models() -> tuple[Model, ...]:
    """Return the models of the UAF applet (uaf_applet.py), which claims no more than a program can."""
    return tuple(Model(StoreKind.UAF_CARD, key_kind, UserVerification.PASSCODE) for key_kind in KEY_KINDS)


def token_statements(store: KeyStore, verification: UserVerification) -> list[MetadataStatement]:
    """Return the statements of the models that a phone with this token is; full ones only after `attest_init`.

    Raises:
        KeyStoreError: the token cannot be read.
    """
    return _statements(store, models_of(store.info(), verification))


def card_statements(store: KeyStore) -> list[MetadataStatement]:
    """As `token_statements`, of the models that a UAF card with its keys in this token is."""
    return _statements(store, card_models())


def _statements(store: KeyStore, models: tuple[Model, ...]) -> list[MetadataStatement]:
    attestation = load_attestation(store)
    roots = (base64.b64encode(attestation.root).decode("ascii"),) if attestation else ()
    return [
        metadata_statement(model, roots)
        for model in models
        if attestation or model.key_kind.attestation is not AttestationType.BASIC_FULL
    ]


def all_models() -> tuple[Model, ...]:
    """Return every model there is: the table of AAIDs."""
    made = tuple(
        Model(store, key_kind, verification)
        for store in StoreKind
        if store not in {StoreKind.ADOPTED, StoreKind.UAF_CARD}
        for key_kind in KEY_KINDS
        for verification in _VERIFICATION_DIGITS
    )
    adopted = tuple(model for verification in _VERIFICATION_DIGITS for model in adopted_models(verification))
    return made + adopted + card_models()


def metadata_statement(model: Model, roots: tuple[str, ...]) -> MetadataStatement:
    """Return the metadata statement of `model`; `roots` are base64 DER and count for full attestation only."""
    full = model.key_kind.attestation is AttestationType.BASIC_FULL
    method = VerificationMethod(int(model.verification))
    if model.verification is UserVerification.PASSCODE:
        method = VerificationMethod(int(model.verification), CodeAccuracy(base=10, minLength=4))
    return MetadataStatement(
        aaid=model.aaid,
        description=model.description,
        authenticatorVersion=AUTHENTICATOR_VERSION,
        upv=(V1_1,),
        assertionScheme=ASSERTION_SCHEME,
        authenticationAlgorithm=int(model.key_kind.algorithm),
        publicKeyAlgAndEncoding=int(model.key_kind.key_format),
        attestationTypes=(int(model.key_kind.attestation),),
        userVerificationDetails=((method,),),
        keyProtection=int(model.key_protection),
        isFreshUserVerificationRequired=model.verification is not UserVerification.NONE,
        matcherProtection=int(model.matcher_protection),
        attachmentHint=int(model.attachment_hint),
        isSecondFactorOnly=False,
        tcDisplay=model.tc_display,
        tcDisplayContentType=TEXT_PLAIN if model.tc_display else UNSET,
        attestationRootCertificates=roots if full else (),
    )
