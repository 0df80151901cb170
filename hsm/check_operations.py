"""What a check has a key do, and what the answer is held against: the same, done on the host with the public key."""

import datetime
import os
from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.hsm.keystore import EcHardwareKey, HardwareKey, KeyAlgorithm, KeyStore, KeyUsage, MacKey, RsaHardwareKey

SIGN: Final = "sign and verify"
AGREE: Final = "agree on a secret (ECDH)"
DECRYPT: Final = "decrypt (OAEP)"
_MESSAGE: Final = b"fidoloop key check "


class WrongAnswer(ValueError):
    """The device answered, and the answer is wrong."""


def key_operations(algorithm: KeyAlgorithm, usage: KeyUsage) -> tuple[tuple[str, Callable[[HardwareKey], str]], ...]:
    """Return the operations of such a key by name; each returns what is worth telling, or raises."""
    if usage is KeyUsage.DERIVE:
        return ((AGREE, _check_agreement),)
    if usage is KeyUsage.DECRYPT:
        return ((DECRYPT, _check_decryption),)
    if algorithm is KeyAlgorithm.RSA2048:
        return (("sign and verify (PKCS #1)", _check_pkcs1), ("sign and verify (PSS)", _check_pss))
    return ((SIGN, _check_ecdsa),)


def check_random(store: KeyStore) -> str:
    """Have the token make random bytes. Raises WrongAnswer."""
    first, second = store.random(32), store.random(32)
    if len(first) != 32 or first == second:
        raise WrongAnswer("the random bytes are not random")
    return ""


def check_mac(key: MacKey) -> str:
    """Have a MAC made. Raises WrongAnswer."""
    one = os.urandom(32)
    if len(key.mac(one)) != 32 or key.mac(one) != key.mac(one) or key.mac(one) == key.mac(one + b"\0"):
        raise WrongAnswer("the MAC is no HMAC-SHA-256")
    return ""


def _check_ecdsa(key: HardwareKey) -> str:
    assert isinstance(key, EcHardwareKey)
    message = _MESSAGE + os.urandom(32)
    algorithm = ec.ECDSA(hashes.SHA384() if key.key_size == 384 else hashes.SHA256())
    key.public_key().verify(key.sign(message, algorithm), message, algorithm)
    return ""


def _check_agreement(key: HardwareKey) -> str:
    assert isinstance(key, EcHardwareKey)
    other = ec.generate_private_key(key.curve)
    if key.exchange(ec.ECDH(), other.public_key()) != other.exchange(ec.ECDH(), key.public_key()):
        raise WrongAnswer("the two sides agreed on different secrets")
    return ""


def _check_decryption(key: HardwareKey) -> str:
    assert isinstance(key, RsaHardwareKey)
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    message = os.urandom(32)
    if key.decrypt(key.public_key().encrypt(message, scheme), scheme) != message:
        raise WrongAnswer("something else was decrypted")
    return ""


def _check_pkcs1(key: HardwareKey) -> str:
    return _check_rsa(key, padding.PKCS1v15())


def _check_pss(key: HardwareKey) -> str:
    return _check_rsa(key, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH))


def _check_rsa(key: HardwareKey, scheme: padding.PKCS1v15 | padding.PSS) -> str:
    assert isinstance(key, RsaHardwareKey)
    public = key.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    message = _MESSAGE + os.urandom(32)
    public.verify(key.sign(message, scheme, hashes.SHA256()), message, scheme, hashes.SHA256())
    return ""


def self_signed(key: HardwareKey) -> bytes:
    """Return a certificate (DER) of the key, signed by itself, valid for a day."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fidoloop check")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return dated.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
