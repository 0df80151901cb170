"""Hardware keys behave as cryptography's and joserfc's own."""

import copy
import datetime
import hashlib
import itertools
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwe, jws
from joserfc.jwk import ECKey, RSAKey

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import (
    EcHardwareKey,
    Ed448HardwareKey,
    Ed25519HardwareKey,
    KeyAlgorithm,
    KeyStore,
    KeyUsage,
    RsaHardwareKey,
)
from fidoloop.hsm.pkcs11 import objects
from fidoloop.hsm.pkcs11.objects import decode_point
from fidoloop.protocol.jose import jose_private_key

DIGESTS: list[hashes.HashAlgorithm] = [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
SHA1 = hashes.SHA1()  # noqa: S303  # RSA-OAEP with SHA-1 is what SoftHSM does itself
EVERY_HASH = [SHA1, *DIGESTS]


@pytest.mark.parametrize("algorithm", DIGESTS, ids=lambda one: one.name)
def test_ec_signatures_verify_in_software(any_sign_key: EcHardwareKey, algorithm: hashes.HashAlgorithm) -> None:
    signature = any_sign_key.sign(b"message", ec.ECDSA(algorithm))
    any_sign_key.public_key().verify(signature, b"message", ec.ECDSA(algorithm))
    with pytest.raises(InvalidSignature):
        any_sign_key.public_key().verify(signature, b"messagf", ec.ECDSA(algorithm))


@pytest.mark.parametrize("algorithm", DIGESTS, ids=lambda one: one.name)
def test_prehashed_data_are_signed_as_they_are(
    sign_key: EcHardwareKey, rsa_sign_key: RsaHardwareKey, algorithm: hashes.HashAlgorithm
) -> None:
    digest = hashlib.new(algorithm.name, b"message").digest()
    signature = sign_key.sign(digest, ec.ECDSA(utils.Prehashed(algorithm)))
    sign_key.public_key().verify(signature, b"message", ec.ECDSA(algorithm))
    signature = rsa_sign_key.sign(digest, padding.PKCS1v15(), utils.Prehashed(algorithm))
    rsa_sign_key.public_key().verify(signature, b"message", padding.PKCS1v15(), algorithm)
    with pytest.raises(ValueError, match="bytes"):
        sign_key.sign(digest[1:], ec.ECDSA(utils.Prehashed(algorithm)))


def test_the_raw_signature_is_r_and_s_as_long_as_the_order(any_sign_key: EcHardwareKey) -> None:
    size = any_sign_key.key_size // 8
    algorithm = {32: hashes.SHA256(), 48: hashes.SHA384()}[size]
    raw = any_sign_key.sign_digest_raw(hashlib.new(algorithm.name, b"message").digest())
    assert len(raw) == 2 * size
    der = utils.encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))
    any_sign_key.public_key().verify(der, b"message", ec.ECDSA(algorithm))
    for wrong in (b"message", bytes(size - 1), bytes(size + 1)):
        with pytest.raises(ValueError, match=f"{size} bytes"):
            any_sign_key.sign_digest_raw(wrong)


def test_signing_looks_nothing_up(sign_key: EcHardwareKey, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_key.sign_digest_raw(bytes(32))

    def forbidden(*_: object) -> None:
        raise AssertionError("a held handle was looked up")

    monkeypatch.setattr(objects, "search", forbidden)
    monkeypatch.setattr(type(sign_key._held._token), "session", forbidden)  # type: ignore[attr-defined]  # our own
    for _ in range(3):
        assert len(sign_key.sign_digest_raw(bytes(32))) == 64


def test_ecdh_agrees_with_software(any_derive_key: EcHardwareKey) -> None:
    other = ec.generate_private_key(any_derive_key.curve)
    shared = any_derive_key.exchange(ec.ECDH(), other.public_key())
    assert shared == other.exchange(ec.ECDH(), any_derive_key.public_key())


def test_ecdh_refuses_another_curve(derive_key: EcHardwareKey) -> None:
    for curve in (ec.SECP384R1(), ec.SECP256K1()):
        with pytest.raises(ValueError, match="secp256r1"):
            derive_key.exchange(ec.ECDH(), ec.generate_private_key(curve).public_key())


def test_a_key_does_only_what_it_was_made_for(
    sign_key: EcHardwareKey, derive_key: EcHardwareKey, rsa_sign_key: RsaHardwareKey, rsa_decrypt_key: RsaHardwareKey
) -> None:
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    for wrong in (
        lambda: sign_key.exchange(ec.ECDH(), derive_key.public_key()),
        lambda: derive_key.sign(b"", ec.ECDSA(hashes.SHA256())),
        lambda: derive_key.sign_digest_raw(bytes(32)),
        lambda: rsa_sign_key.decrypt(bytes(256), oaep),
        lambda: rsa_decrypt_key.sign(b"", padding.PKCS1v15(), hashes.SHA256()),
    ):
        with pytest.raises(NotSupported):
            wrong()


@pytest.mark.parametrize("algorithm", DIGESTS, ids=lambda one: one.name)
@pytest.mark.parametrize("salt", [0, 32, padding.PSS.DIGEST_LENGTH, padding.PSS.MAX_LENGTH, "pkcs1"])
def test_rsa_signatures_verify_in_software(
    rsa_sign_key: RsaHardwareKey,
    algorithm: hashes.HashAlgorithm,
    salt: Any,  # noqa: ANN401  # int or a marker
) -> None:
    scheme = padding.PKCS1v15() if salt == "pkcs1" else padding.PSS(padding.MGF1(algorithm), salt)
    signature = rsa_sign_key.sign(b"message", scheme, algorithm)
    rsa_sign_key.public_key().verify(signature, b"message", scheme, algorithm)


def test_signature_schemes_that_are_not_ours_are_refused(sign_key: EcHardwareKey, rsa_sign_key: RsaHardwareKey) -> None:
    auto = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    for wrong in (
        lambda: sign_key.sign(b"", ec.ECDSA(SHA1)),
        lambda: sign_key.sign(b"", ec.ECDSA(hashes.SHA256(), deterministic_signing=True)),
        lambda: rsa_sign_key.sign(b"", padding.PKCS1v15(), SHA1),
        lambda: rsa_sign_key.sign(b"", padding.PKCS1v15(), utils.NoDigestInfo()),
        lambda: rsa_sign_key.sign(b"", auto, hashes.SHA256()),
        lambda: rsa_sign_key.sign(b"", oaep, hashes.SHA256()),
    ):
        with pytest.raises((UnsupportedAlgorithm, ValueError)):
            wrong()


@pytest.mark.parametrize(("algorithm", "mgf"), [*itertools.product(EVERY_HASH, EVERY_HASH)], ids=lambda one: one.name)
@pytest.mark.parametrize("label", [None, b"label"], ids=["unlabelled", "labelled"])
def test_rsa_decrypts_what_software_encrypted(
    rsa_decrypt_key: RsaHardwareKey, algorithm: hashes.HashAlgorithm, mgf: hashes.HashAlgorithm, label: bytes | None
) -> None:
    scheme = padding.OAEP(padding.MGF1(mgf), algorithm, label)
    for message in (b"", b"a", bytes(100)):
        assert rsa_decrypt_key.decrypt(rsa_decrypt_key.public_key().encrypt(message, scheme), scheme) == message


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=0, max_size=300) | st.binary(min_size=256, max_size=256), st.sampled_from(EVERY_HASH))
def test_a_wrong_ciphertext_has_one_error(
    rsa_decrypt_key: RsaHardwareKey, ciphertext: bytes, algorithm: hashes.HashAlgorithm
) -> None:
    with pytest.raises(ValueError, match=r"^Decryption failed$"):
        rsa_decrypt_key.decrypt(ciphertext, padding.OAEP(padding.MGF1(algorithm), algorithm, None))


def test_pkcs1v15_decryption_is_refused(rsa_decrypt_key: RsaHardwareKey) -> None:
    ciphertext = rsa_decrypt_key.public_key().encrypt(b"message", padding.PKCS1v15())
    with pytest.raises(UnsupportedAlgorithm):
        rsa_decrypt_key.decrypt(ciphertext, padding.PKCS1v15())


def test_private_parts_are_refused(sign_key: EcHardwareKey, rsa_sign_key: RsaHardwareKey) -> None:
    for key in (sign_key, rsa_sign_key):
        with pytest.raises(TypeError):
            key.private_numbers()
        with pytest.raises(TypeError):
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        assert copy.copy(key) is copy.deepcopy(key) is key
    assert (sign_key.key_size, sign_key.curve.name, rsa_sign_key.key_size) == (256, "secp256r1", 2048)


def test_x509_builders_take_hardware_keys(sign_key: EcHardwareKey, rsa_sign_key: RsaHardwareKey) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for key in (sign_key, rsa_sign_key):
        builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(days=1))
        certificate = builder.sign(key, hashes.SHA256())
        certificate.verify_directly_issued_by(certificate)
        request = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256())
        assert request.is_signature_valid
        assert request.public_key() == key.public_key()


def test_joserfc_signs_with_an_ec_key_given_its_public_jwk(sign_key: EcHardwareKey) -> None:
    public = ECKey.import_key(sign_key.public_key())
    for key in (ECKey(sign_key, public.as_dict()), jose_private_key(sign_key)[0]):
        token = jws.serialize_compact({"alg": "ES256"}, b"payload", key)
        assert jws.deserialize_compact(token, public).payload == b"payload"


@pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
def test_joserfc_signs_with_an_rsa_key(rsa_sign_key: RsaHardwareKey, algorithm: str) -> None:
    key, _ = jose_private_key(rsa_sign_key)
    token = jws.serialize_compact({"alg": algorithm}, b"payload", key, algorithms=[algorithm])
    public = RSAKey.import_key(rsa_sign_key.public_key())
    assert jws.deserialize_compact(token, public, algorithms=[algorithm]).payload == b"payload"


@pytest.mark.parametrize("algorithm", ["ECDH-ES+A256KW", "ECDH-ES"])
def test_joserfc_decrypts_with_an_ec_key(derive_key: EcHardwareKey, algorithm: str) -> None:
    header = {"alg": algorithm, "enc": "A256GCM"}
    public = ECKey.import_key(derive_key.public_key())
    token = jwe.encrypt_compact(header, b"payload", public, algorithms=[algorithm, "A256GCM"])
    key, _ = jose_private_key(derive_key)
    found = jwe.decrypt_compact(token, key, algorithms=[algorithm, "A256GCM"])
    assert found.plaintext == b"payload"


@pytest.mark.parametrize("algorithm", ["RSA-OAEP-256", "RSA-OAEP"])
def test_joserfc_decrypts_with_an_rsa_key(rsa_decrypt_key: RsaHardwareKey, algorithm: str) -> None:
    header = {"alg": algorithm, "enc": "A256GCM"}
    public = RSAKey.import_key(rsa_decrypt_key.public_key())
    token = jwe.encrypt_compact(header, b"payload", public, algorithms=[algorithm, "A256GCM"])
    key, _ = jose_private_key(rsa_decrypt_key)
    found = jwe.decrypt_compact(token, key, algorithms=[algorithm, "A256GCM"])
    assert found.plaintext == b"payload"


def test_a_jose_key_tells_its_public_members_and_no_more(sign_key: EcHardwareKey, rsa_sign_key: RsaHardwareKey) -> None:
    for hardware in (sign_key, rsa_sign_key):
        key, jwk = jose_private_key(hardware)
        assert key.is_private
        assert "d" not in key.as_dict(private=True)
        assert key.as_dict(private=True).items() >= jwk.members.items()
        assert key.thumbprint() == jwk.thumbprint
        assert key.thumbprint() == type(key).import_key(hardware.public_key()).thumbprint()  # type: ignore[arg-type]


@pytest.mark.parametrize(("curve", "size"), [(ec.SECP256R1(), 32), (ec.SECP384R1(), 48)], ids=["P-256", "P-384"])
def test_points_are_told_apart_by_length(curve: ec.EllipticCurve, size: int) -> None:
    point = ec.generate_private_key(curve).public_key()
    raw = point.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    header = bytes((0x04, 2 * size + 1))
    assert decode_point(raw, size) == decode_point(header + raw, size) == raw
    # A bare point whose x begins with the length looks like the beginning of an OCTET STRING.
    assert decode_point(header + bytes(2 * size - 1), size) == header + bytes(2 * size - 1)
    wrong_length, wrong_tag = bytes((0x04, 2 * size)) + raw[1:], bytes((0x05, 2 * size + 1)) + raw
    for wrong in (b"", raw[1:], wrong_length, wrong_tag, b"\x02" + raw[1 : size + 1]):
        with pytest.raises(ValueError, match="point"):
            decode_point(wrong, size)


def test_a_key_opened_again_is_the_same_key(shared: KeyStore, sign_key: EcHardwareKey) -> None:
    assert shared.key(b"ec-sign") is sign_key
    assert sign_key.info in shared.list()
    assert sign_key.info.algorithm is KeyAlgorithm.P256
    assert sign_key.info.usage == KeyUsage.SIGN
    assert isinstance(sign_key.public_key(), ec.EllipticCurvePublicKey)
    assert not isinstance(sign_key, rsa.RSAPrivateKey)


@pytest.fixture(scope="module", params=[KeyAlgorithm.P521, KeyAlgorithm.SECP256K1])
def newer_ec_key(request: pytest.FixtureRequest, shared: KeyStore) -> EcHardwareKey:
    key = shared.generate(request.param, KeyUsage.SIGN, key_id=f"newer-{request.param}".encode(), label="")
    assert isinstance(key, EcHardwareKey)
    return key


@pytest.mark.parametrize("algorithm", DIGESTS, ids=lambda one: one.name)
def test_keys_on_other_curves_sign_every_hash(newer_ec_key: EcHardwareKey, algorithm: hashes.HashAlgorithm) -> None:
    signature = newer_ec_key.sign(b"message", ec.ECDSA(algorithm))
    newer_ec_key.public_key().verify(signature, b"message", ec.ECDSA(algorithm))
    assert newer_ec_key.info.usage is KeyUsage.SIGN


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ED25519, KeyAlgorithm.ED448])
def test_edwards_keys_sign_whole_messages_and_stay_in_the_token(shared: KeyStore, algorithm: KeyAlgorithm) -> None:
    key_id = algorithm.encode()
    made = shared.generate(algorithm, KeyUsage.SIGN, key_id=key_id, label="edwards")
    assert isinstance(made, Ed25519HardwareKey | Ed448HardwareKey)
    for message in (b"", b"message" * 1000):
        made.public_key().verify(made.sign(message), message)
        with pytest.raises(InvalidSignature):
            made.public_key().verify(made.sign(message), message + b"!")
    (listed,) = [info for info in shared.list() if info.key_id == key_id]
    assert (listed.algorithm, listed.public_key, listed.local) == (algorithm, made.public_key(), True)
    assert copy.deepcopy(made) is made
    with pytest.raises(TypeError):
        made.private_bytes_raw()
    with pytest.raises(TypeError):
        made.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@pytest.mark.parametrize(
    "algorithm", [KeyAlgorithm.P521, KeyAlgorithm.SECP256K1, KeyAlgorithm.ED25519, KeyAlgorithm.ED448]
)
@pytest.mark.parametrize("usage", [KeyUsage.DERIVE, KeyUsage.DECRYPT])
def test_newer_keys_are_for_signing_only(shared: KeyStore, algorithm: KeyAlgorithm, usage: KeyUsage) -> None:
    with pytest.raises(NotSupported, match="cannot be for"):
        shared.generate(algorithm, usage, key_id=b"nothing", label="")


@pytest.mark.parametrize("wrapped", [True, False])
def test_points_of_p521_come_raw_or_wrapped(wrapped: bool) -> None:
    point = (
        ec.generate_private_key(ec.SECP521R1())
        .public_key()
        .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    assert decode_point((b"\x04\x81\x85" if wrapped else b"") + point, 66) == point
