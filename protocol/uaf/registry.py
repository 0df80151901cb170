"""FIDO UAF registry of predefined values 1.1, and the values later FIDO registries added for metadata."""

from enum import IntEnum, IntFlag

ASSERTION_SCHEME = "UAFV1TLV"


class Algorithm(IntEnum):
    """ALG_SIGN: signature algorithm and encoding (UAF registry 3.6.1)."""

    SECP256R1_ECDSA_SHA256_RAW = 0x01
    SECP256R1_ECDSA_SHA256_DER = 0x02
    RSASSA_PSS_SHA256_RAW = 0x03
    RSASSA_PSS_SHA256_DER = 0x04
    SECP256K1_ECDSA_SHA256_RAW = 0x05
    SECP256K1_ECDSA_SHA256_DER = 0x06
    SM2_SM3_RAW = 0x07
    RSA_EMSA_PKCS1_SHA256_RAW = 0x08
    RSA_EMSA_PKCS1_SHA256_DER = 0x09
    # The rest is of later FIDO registries.
    RSASSA_PSS_SHA384_RAW = 0x0A
    RSASSA_PSS_SHA512_RAW = 0x0B
    RSASSA_PKCSV15_SHA256_RAW = 0x0C
    RSASSA_PKCSV15_SHA384_RAW = 0x0D
    RSASSA_PKCSV15_SHA512_RAW = 0x0E
    RSASSA_PKCSV15_SHA1_RAW = 0x0F
    SECP384R1_ECDSA_SHA384_RAW = 0x10
    SECP521R1_ECDSA_SHA512_RAW = 0x11
    ED25519_EDDSA_SHA512_RAW = 0x12
    ED448_EDDSA_SHA512_RAW = 0x13


class PublicKeyFormat(IntEnum):
    """ALG_KEY: public key representation (UAF registry 3.6.2)."""

    ECC_X962_RAW = 0x100
    ECC_X962_DER = 0x101
    RSA_2048_RAW = 0x102
    RSA_2048_DER = 0x103
    COSE = 0x104


class AttestationType(IntEnum):
    """TAG_ATTESTATION_*: kind of attestation (UAF registry 3.8).

    Only the first three are elements of an assertion; the later ones stand in metadata.
    """

    BASIC_FULL = 0x3E07
    BASIC_SURROGATE = 0x3E08
    ECDAA = 0x3E09
    ATTCA = 0x3E0A
    NONE = 0x3E0B
    ANONCA = 0x3E0C


class UserVerification(IntFlag):
    """USER_VERIFY_* (FIDO registry 3.1)."""

    PRESENCE = 0x01
    FINGERPRINT = 0x02
    PASSCODE = 0x04
    VOICEPRINT = 0x08
    FACEPRINT = 0x10
    LOCATION = 0x20
    EYEPRINT = 0x40
    PATTERN = 0x80
    HANDPRINT = 0x100
    NONE = 0x200
    ALL = 0x400
    PASSCODE_EXTERNAL = 0x800
    PATTERN_EXTERNAL = 0x1000


class KeyProtection(IntFlag):
    """KEY_PROTECTION_* (FIDO registry 3.2)."""

    SOFTWARE = 0x01
    HARDWARE = 0x02
    TEE = 0x04
    SECURE_ELEMENT = 0x08
    REMOTE_HANDLE = 0x10


class MatcherProtection(IntFlag):
    """MATCHER_PROTECTION_* (FIDO registry 3.3)."""

    SOFTWARE = 0x01
    TEE = 0x02
    ON_CHIP = 0x04


class AttachmentHint(IntFlag):
    """ATTACHMENT_HINT_* (FIDO registry 3.4)."""

    INTERNAL = 0x01
    EXTERNAL = 0x02
    WIRED = 0x04
    WIRELESS = 0x08
    NFC = 0x10
    BLUETOOTH = 0x20
    NETWORK = 0x40
    READY = 0x80
    WIFI_DIRECT = 0x100


class TransactionConfirmationDisplay(IntFlag):
    """TRANSACTION_CONFIRMATION_DISPLAY_* (FIDO registry 3.5)."""

    ANY = 0x01
    PRIVILEGED_SOFTWARE = 0x02
    TEE = 0x04
    HARDWARE = 0x08
    REMOTE = 0x10


class Tag(IntEnum):
    """TLV tags of assertions (UAF registry 3.8; UAF authenticator commands 4)."""

    UAFV1_REG_ASSERTION = 0x3E01
    UAFV1_AUTH_ASSERTION = 0x3E02
    UAFV1_KRD = 0x3E03
    UAFV1_SIGNED_DATA = 0x3E04
    ATTESTATION_CERT = 0x2E05
    SIGNATURE = 0x2E06
    ATTESTATION_BASIC_FULL = 0x3E07
    ATTESTATION_BASIC_SURROGATE = 0x3E08
    ATTESTATION_ECDAA = 0x3E09
    KEYID = 0x2E09
    FINAL_CHALLENGE_HASH = 0x2E0A
    AAID = 0x2E0B
    PUB_KEY = 0x2E0C
    COUNTERS = 0x2E0D
    ASSERTION_INFO = 0x2E0E
    AUTHENTICATOR_NONCE = 0x2E0F
    TRANSACTION_CONTENT_HASH = 0x2E10
    EXTENSION = 0x3E11
    EXTENSION_NON_CRITICAL = 0x3E12
    EXTENSION_ID = 0x2E13
    EXTENSION_DATA = 0x2E14


class UserVerificationTag(IntEnum):
    """Tags of the user verification index and state extensions, 32 bytes at most, and of verification caching.

    UAF registry 1.1, 3.9; none is critical, and nothing here acts on them.
    """

    RAW_USER_VERIFICATION_INDEX = 0x0103
    USER_VERIFICATION_INDEX = 0x0104
    RAW_USER_VERIFICATION_STATE = 0x0105
    USER_VERIFICATION_STATE = 0x0106
    USER_VERIFICATION_CACHING = 0x0108


TAG_COMPOSITE = 0x1000
TAG_CRITICAL = 0x2000


class AuthenticationMode(IntEnum):
    """ASSERTION_INFO.authenticationMode (UAF authenticator commands 5.2)."""

    USER_VERIFIED = 0x01
    TRANSACTION_CONFIRMED = 0x02
