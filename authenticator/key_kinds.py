"""What user keys the models have: algorithm, the format their public keys are given in, and how they are attested."""

from itertools import product

import msgspec

from fidoloop.hsm.keystore import KeyAlgorithm, TokenInfo
from fidoloop.protocol.uaf.algorithms import ALGORITHMS
from fidoloop.protocol.uaf.registry import Algorithm, AttestationType, PublicKeyFormat

_PSS, _PKCS1 = "RSA_PKCS_PSS", "RSA_PKCS"
_OTHER_FORMAT = 4
_SURROGATE = 8
# What UAF 1.0 knows ends with these (digest section 9).
_LAST_ALGORITHM_OF_1_0 = Algorithm.SECP256K1_ECDSA_SHA256_DER


class KeyKind(msgspec.Struct, frozen=True):
    """Algorithm and encoding of the user key, and how it is attested.

    `mechanism` is what the token must have beside keys of the kind `key`, by PKCS#11's name, empty where that is all.
    """

    name: str
    algorithm: Algorithm
    key_format: PublicKeyFormat
    attestation: AttestationType
    key: KeyAlgorithm
    mechanism: str = ""

    @property
    def page(self) -> int:
        """p of the AAID: ALG_SIGN / 8, and 4 more where a DER key stands beside a raw signature."""
        der_key = self.key_format in {PublicKeyFormat.ECC_X962_DER, PublicKeyFormat.RSA_2048_DER}
        other = der_key and not ALGORITHMS[int(self.algorithm)].der
        return int(self.algorithm) >> 3 | (_OTHER_FORMAT if other else 0)

    @property
    def digit(self) -> int:
        """a of the AAID: ALG_SIGN modulo 8, and 8 more for surrogate attestation."""
        surrogate = self.attestation is AttestationType.BASIC_SURROGATE
        return int(self.algorithm) & 7 | (_SURROGATE if surrogate else 0)

    @property
    def attested_by(self) -> Algorithm:
        """ALG_SIGN of the attestation: the user key's own, or with full attestation that of a P-256 key."""
        if self.attestation is AttestationType.BASIC_SURROGATE or self.key is KeyAlgorithm.P256:
            return self.algorithm
        return Algorithm.SECP256R1_ECDSA_SHA256_RAW

    @property
    def is_of_uaf_1_0(self) -> bool:
        """Whether UAF 1.0 knows the algorithm and the format."""
        return self.algorithm <= _LAST_ALGORITHM_OF_1_0

    def is_made_by(self, token: TokenInfo) -> bool:
        """Tell whether the token makes such keys and signs with them."""
        return self.key in token.algorithms and (not self.mechanism or self.mechanism in token.mechanisms)


_RAW, _DER = PublicKeyFormat.ECC_X962_RAW, PublicKeyFormat.ECC_X962_DER
_RSA_RAW, _RSA_DER, _COSE = PublicKeyFormat.RSA_2048_RAW, PublicKeyFormat.RSA_2048_DER, PublicKeyFormat.COSE
_P256, _P384, _P521, _K256 = KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.P521, KeyAlgorithm.SECP256K1
_RSA = KeyAlgorithm.RSA2048
# Raw and DER where the registry has both; of algorithms it has raw only, keys in either format, or in the one there is.
_KINDS: tuple[tuple[str, Algorithm, PublicKeyFormat, KeyAlgorithm, str], ...] = (
    ("P-256", Algorithm.SECP256R1_ECDSA_SHA256_RAW, _RAW, _P256, ""),
    ("P-256 DER", Algorithm.SECP256R1_ECDSA_SHA256_DER, _DER, _P256, ""),
    ("RSA PSS", Algorithm.RSASSA_PSS_SHA256_RAW, _RSA_RAW, _RSA, _PSS),
    ("RSA PSS DER", Algorithm.RSASSA_PSS_SHA256_DER, _RSA_DER, _RSA, _PSS),
    ("secp256k1", Algorithm.SECP256K1_ECDSA_SHA256_RAW, _RAW, _K256, ""),
    ("secp256k1 DER", Algorithm.SECP256K1_ECDSA_SHA256_DER, _DER, _K256, ""),
    ("RSA PKCS#1", Algorithm.RSA_EMSA_PKCS1_SHA256_RAW, _RSA_RAW, _RSA, _PKCS1),
    ("RSA PKCS#1 DER", Algorithm.RSA_EMSA_PKCS1_SHA256_DER, _RSA_DER, _RSA, _PKCS1),
    ("RSA PSS SHA-384", Algorithm.RSASSA_PSS_SHA384_RAW, _RSA_RAW, _RSA, _PSS),
    ("RSA PSS SHA-384, DER key", Algorithm.RSASSA_PSS_SHA384_RAW, _RSA_DER, _RSA, _PSS),
    ("RSA PSS SHA-512", Algorithm.RSASSA_PSS_SHA512_RAW, _RSA_RAW, _RSA, _PSS),
    ("RSA PSS SHA-512, DER key", Algorithm.RSASSA_PSS_SHA512_RAW, _RSA_DER, _RSA, _PSS),
    ("RSA PKCS#1 v1.5 SHA-256", Algorithm.RSASSA_PKCSV15_SHA256_RAW, _RSA_RAW, _RSA, _PKCS1),
    ("RSA PKCS#1 v1.5 SHA-256, DER key", Algorithm.RSASSA_PKCSV15_SHA256_RAW, _RSA_DER, _RSA, _PKCS1),
    ("RSA PKCS#1 v1.5 SHA-384", Algorithm.RSASSA_PKCSV15_SHA384_RAW, _RSA_RAW, _RSA, _PKCS1),
    ("RSA PKCS#1 v1.5 SHA-384, DER key", Algorithm.RSASSA_PKCSV15_SHA384_RAW, _RSA_DER, _RSA, _PKCS1),
    ("RSA PKCS#1 v1.5 SHA-512", Algorithm.RSASSA_PKCSV15_SHA512_RAW, _RSA_RAW, _RSA, _PKCS1),
    ("RSA PKCS#1 v1.5 SHA-512, DER key", Algorithm.RSASSA_PKCSV15_SHA512_RAW, _RSA_DER, _RSA, _PKCS1),
    ("P-384", Algorithm.SECP384R1_ECDSA_SHA384_RAW, _RAW, _P384, ""),
    ("P-384, DER key", Algorithm.SECP384R1_ECDSA_SHA384_RAW, _DER, _P384, ""),
    ("P-521", Algorithm.SECP521R1_ECDSA_SHA512_RAW, _RAW, _P521, ""),
    ("P-521, DER key", Algorithm.SECP521R1_ECDSA_SHA512_RAW, _DER, _P521, ""),
    ("Ed25519", Algorithm.ED25519_EDDSA_SHA512_RAW, _COSE, KeyAlgorithm.ED25519, ""),
    ("Ed448", Algorithm.ED448_EDDSA_SHA512_RAW, _COSE, KeyAlgorithm.ED448, ""),
)

# Full attestation comes first, P-256 before all others: a client offers models in this order, and the policy decides.
KEY_KINDS: tuple[KeyKind, ...] = tuple(
    KeyKind(f"{name}{suffix}", algorithm, key_format, attestation, key, mechanism)
    for (attestation, suffix), (name, algorithm, key_format, key, mechanism) in product(
        ((AttestationType.BASIC_FULL, ""), (AttestationType.BASIC_SURROGATE, ", surrogate")), _KINDS
    )
)
