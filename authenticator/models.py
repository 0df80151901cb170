"""Models: one AAID is one model with one metadata statement (design, "AAID").

An AAID is `F10B#psav`, four hexadecimal digits of which each says one thing:

- p and a: the algorithm. ALG_SIGN of the registry is 8 (p modulo 4) + (a modulo 8); p has 4 more where the public key
  is in DER though the signature is raw, a has 8 more where the attestation is surrogate.
- s: the kind of key store.
- v: the user verification (1 the token's PIN, 2 presence, 3 none), with 4 more for a second factor, 8 for a display of
  images, 12 for one that takes a transaction's hash.

So P-256 raw (ALG_SIGN 1) with full attestation is F10B#0s1v, P-384 (0x10) with surrogate attestation F10B#2s8v.
"""

import base64
from enum import Enum, StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.authenticator.attestation import load_attestation
from fidoloop.authenticator.key_kinds import KEY_KINDS, KeyKind
from fidoloop.hsm.keystore import KeyAlgorithm, KeyStore, TokenInfo
from fidoloop.protocol.uaf.messages import V1_0, V1_1, DisplayPngCharacteristics
from fidoloop.protocol.uaf.metadata import CodeAccuracy, MetadataStatement, VerificationMethod
from fidoloop.protocol.uaf.registry import (
    ASSERTION_SCHEME,
    AttachmentHint,
    AttestationType,
    KeyProtection,
    MatcherProtection,
    TransactionConfirmationDisplay,
    UserVerification,
)
from fidoloop.protocol.uaf.transactions import IMAGE_PNG, TEXT_PLAIN

VENDOR = "F10B"
AUTHENTICATOR_VERSION = 1


class StoreKind(Enum):
    """s: the kind of key store, and what it may claim."""

    SOFTHSM = 1
    SOFTWARE_TOKEN = 2
    HARDWARE_TOKEN = 3
    PIV_CARD = 4
    SIMULATED_PIV_CARD = 5
    TPM = 6
    ADOPTED = 7
    UAF_CARD = 8

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


class Form(StrEnum):
    """What an authenticator is beside its key and its user verification: a first factor that shows text, or else."""

    FIRST_FACTOR = "first-factor"
    SECOND_FACTOR = "second-factor"
    """Wants the key handle from its caller and keeps no username (commands 6.2.2, 6.2.3)."""
    IMAGE_DISPLAY = "image-display"
    """Shows transactions as images of `IMAGES` and nothing else."""
    HASH_DISPLAY = "hash-display"
    """Is given a transaction's hash; what shows the transaction is the ASM (tcDisplay 3)."""


_FORM_DIGITS = {Form.FIRST_FACTOR: 0, Form.SECOND_FACTOR: 4, Form.IMAGE_DISPLAY: 8, Form.HASH_DISPLAY: 12}
_FORM_NAMES = {
    Form.FIRST_FACTOR: "",
    Form.SECOND_FACTOR: ", second factor",
    Form.IMAGE_DISPLAY: ", image display",
    Form.HASH_DISPLAY: ", display by hash",
}
IMAGES: tuple[DisplayPngCharacteristics, ...] = tuple(
    DisplayPngCharacteristics(320, 480, bitDepth=8, colorType=colour, compression=0, filter=0, interlace=0)
    for colour in (0, 2)  # grey, RGB
)
_VERIFICATION_DIGITS = {
    UserVerification.PASSCODE: 1,
    UserVerification.PRESENCE: 2,
    UserVerification.NONE: 3,
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
    form: Form = Form.FIRST_FACTOR

    @property
    def aaid(self) -> str:
        """AAID, upper case."""
        last = _VERIFICATION_DIGITS[self.verification] + _FORM_DIGITS[self.form]
        digits = self.key_kind.page, self.store.value, self.key_kind.digit, last
        return f"{VENDOR}#{''.join(f'{digit:X}' for digit in digits)}"

    @property
    def algorithm(self) -> int:
        """ALG_SIGN of its keys."""
        return int(self.key_kind.algorithm)

    @property
    def attestation(self) -> int:
        """How its keys are attested."""
        return int(self.key_kind.attestation)

    @property
    def description(self) -> str:
        """Name for people."""
        store, verification = _STORE_NAMES[self.store], _VERIFICATION_NAMES[self.verification]
        return f"fidoloop {store}, {self.key_kind.name}, {verification}{_FORM_NAMES[self.form]}"

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
        if self.verification is UserVerification.NONE or self.store is StoreKind.UAF_CARD:
            return 0
        by_hash = TransactionConfirmationDisplay.PRIVILEGED_SOFTWARE if self.form is Form.HASH_DISPLAY else 0
        return int(TransactionConfirmationDisplay.ANY | by_hash)

    @property
    def tc_display_content_type(self) -> str | UnsetType:
        """What the display shows."""
        if not self.tc_display:
            return UNSET
        return IMAGE_PNG if self.form is Form.IMAGE_DISPLAY else TEXT_PLAIN

    @property
    def images(self) -> tuple[DisplayPngCharacteristics, ...] | UnsetType:
        """The images that the display takes, where it takes any."""
        return IMAGES if self.tc_display_content_type == IMAGE_PNG else UNSET

    @property
    def is_second_factor(self) -> bool:
        """Whether it wants the key handle from its caller."""
        return self.form is Form.SECOND_FACTOR

    @property
    def takes_hash(self) -> bool:
        """Whether it is given a transaction's hash in the place of its content."""
        return self.form is Form.HASH_DISPLAY and bool(self.tc_display)

    @property
    def attachment_hint(self) -> AttachmentHint:
        """The phone and its token are one thing to the client; a card is put into a reader."""
        card = self.store is StoreKind.UAF_CARD
        return AttachmentHint.EXTERNAL | AttachmentHint.WIRED if card else AttachmentHint.INTERNAL


def models_of(token: TokenInfo, verification: UserVerification, form: Form = Form.FIRST_FACTOR) -> tuple[Model, ...]:
    """Return the models a token can be with this verification and in this form, in order of preference.

    One that makes no keys can only have the phone adopt those in it.
    """
    if not token.makes_keys:
        return adopted_models(verification)
    store = StoreKind.of(token)
    return tuple(Model(store, key_kind, verification, form) for key_kind in KEY_KINDS if key_kind.is_made_by(token))


def adopted_models(verification: UserVerification) -> tuple[Model, ...]:
    """Return the models of keys a phone adopted: nobody knows where they were made, so nothing is claimed of that."""
    return tuple(
        Model(StoreKind.ADOPTED, key_kind, verification)
        for key_kind in KEY_KINDS
        if key_kind.attestation is AttestationType.BASIC_SURROGATE and key_kind.key is KeyAlgorithm.P256
    )


def card_models(token: TokenInfo) -> tuple[Model, ...]:
    """Return the models of a UAF applet (uaf_applet.py) over this token, which claims no more than a program can."""
    kinds = (key_kind for key_kind in KEY_KINDS if key_kind.is_made_by(token))
    return tuple(Model(StoreKind.UAF_CARD, key_kind, UserVerification.PASSCODE) for key_kind in kinds)


def token_statements(
    store: KeyStore, verification: UserVerification, form: Form = Form.FIRST_FACTOR
) -> list[MetadataStatement]:
    """Return the statements of the models that a phone with this token is; full ones only after `attest_init`.

    Raises:
        KeyStoreError: the token cannot be read.
    """
    return _statements(store, models_of(store.info(), verification, form))


def card_statements(store: KeyStore) -> list[MetadataStatement]:
    """As `token_statements`, of the models that a UAF card with its keys in this token is."""
    return _statements(store, card_models(store.info()))


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
        Model(store, key_kind, verification, form)
        for store in StoreKind
        if store not in {StoreKind.ADOPTED, StoreKind.UAF_CARD}  # which have fewer
        for key_kind in KEY_KINDS
        for verification in _VERIFICATION_DIGITS
        for form in Form
        if verification is not UserVerification.NONE or form in {Form.FIRST_FACTOR, Form.SECOND_FACTOR}
    )
    adopted = tuple(model for verification in _VERIFICATION_DIGITS for model in adopted_models(verification))
    cards = tuple(Model(StoreKind.UAF_CARD, key_kind, UserVerification.PASSCODE) for key_kind in KEY_KINDS)
    return made + adopted + cards


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
        upv=(V1_0, V1_1) if model.key_kind.is_of_uaf_1_0 else (V1_1,),
        assertionScheme=ASSERTION_SCHEME,
        authenticationAlgorithm=int(model.key_kind.algorithm),
        publicKeyAlgAndEncoding=int(model.key_kind.key_format),
        attestationTypes=(int(model.key_kind.attestation),),
        userVerificationDetails=((method,),),
        keyProtection=int(model.key_protection),
        isFreshUserVerificationRequired=model.verification is not UserVerification.NONE,
        matcherProtection=int(model.matcher_protection),
        attachmentHint=int(model.attachment_hint),
        isSecondFactorOnly=model.is_second_factor,
        tcDisplay=model.tc_display,
        tcDisplayContentType=model.tc_display_content_type,
        tcDisplayPNGCharacteristics=model.images,
        attestationRootCertificates=roots if full else (),
    )
