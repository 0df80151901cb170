"""Private keys: making, using, importing, moving, describing (SP 800-73-4 part 2, 3.2.4 and 3.3.1; Yubico)."""

import hashlib
import itertools

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.hsm.piv.tlv import encode, fields, only
from fidoloop.hsm.sim.piv.registry import Algorithm, Ins
from tests.hsm.sim.host import Host

SLOTS = [0x9A, 0x9C, 0x9D, 0x9E, *range(0x82, 0x96)]
DIGEST = hashlib.sha256(b"data").digest()
CURVES = {Algorithm.P256: ec.SECP256R1(), Algorithm.P384: ec.SECP384R1()}
REFUSED_SLOTS = [0x00, 0x04, 0x80, 0x81, 0x96, 0x9B, 0xF9, 0xFF]
NEVER, ONCE, ALWAYS = b"\xaa\x01\x01", b"\xaa\x01\x02", b"\xaa\x01\x03"


def ec_public(objects: bytes, algorithm: Algorithm = Algorithm.P256) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(CURVES[algorithm], only(objects, 0x86))


def rsa_public(objects: bytes) -> rsa.RSAPublicKey:
    found = fields(objects)
    return rsa.RSAPublicNumbers(int.from_bytes(found[0x82]), int.from_bytes(found[0x81])).public_key()


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def signs(host: Host, slot: int) -> bool:
    status, signature = host.use(slot, DIGEST)
    assert status in (0x9000, 0x6982), f"{status:04X}"
    return bool(signature)


@pytest.mark.parametrize("slot", SLOTS, ids=hex)
def test_every_slot_holds_a_key_that_signs(manager: Host, slot: int) -> None:
    public = ec_public(manager.generate(slot))
    manager.verify()
    status, signature = manager.use(slot, DIGEST)
    assert status == 0x9000
    public.verify(signature, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


def test_p384_signs(manager: Host) -> None:
    public = ec_public(manager.generate(0x9E, Algorithm.P384), Algorithm.P384)
    digest = hashlib.sha384(b"data").digest()
    public.verify(manager.use(0x9E, digest, Algorithm.P384)[1], digest, ec.ECDSA(Prehashed(hashes.SHA384())))


def test_a_short_digest_counts_as_if_zeros_stood_before_it(manager: Host) -> None:
    public = ec_public(manager.generate(0x9E))
    short = hashlib.sha1(b"data").digest()  # noqa: S324 - 20 bytes
    public.verify(manager.use(0x9E, short)[1], short.rjust(32, b"\0"), ec.ECDSA(Prehashed(hashes.SHA256())))


def test_rsa_is_raw_for_signing_and_decryption(manager: Host) -> None:
    public = rsa_public(manager.generate(0x9E, Algorithm.RSA2048))
    assert public.key_size == 2048
    # EMSA-PKCS1-v1_5 (RFC 8017, 9.2) is the host's work.
    info = bytes.fromhex("3031300d060960864801650304020105000420") + DIGEST
    block = b"\x00\x01" + b"\xff" * (256 - 3 - len(info)) + b"\x00" + info
    status, signature = manager.use(0x9E, block, Algorithm.RSA2048)
    assert status == 0x9000
    public.verify(signature, b"data", padding.PKCS1v15(), hashes.SHA256())
    decrypted = manager.use(0x9E, public.encrypt(b"secret", padding.PKCS1v15()), Algorithm.RSA2048)[1]
    assert decrypted[:2] == b"\x00\x02"
    assert decrypted.endswith(b"\x00secret")


@pytest.mark.parametrize("algorithm", list(CURVES))
def test_both_sides_agree_on_a_secret(manager: Host, algorithm: Algorithm) -> None:
    public = ec_public(manager.generate(0x9D, algorithm), algorithm)
    other = ec.generate_private_key(CURVES[algorithm])
    assert manager.use(0x9D, point(other.public_key()), algorithm, tag=0x85)[0] == 0x6982
    manager.verify()
    status, secret = manager.use(0x9D, point(other.public_key()), algorithm, tag=0x85)
    assert (status, secret) == (0x9000, other.exchange(ec.ECDH(), public))


def test_the_pin_is_wanted_as_the_slot_says(manager: Host) -> None:
    for slot in (0x9A, 0x9C, 0x9D, 0x9E, 0x82):
        manager.generate(slot)
    assert [signs(manager, slot) for slot in (0x9A, 0x9C, 0x9D, 0x9E, 0x82)] == [False, False, False, True, False]
    manager.verify()
    assert [signs(manager, slot) for slot in (0x9C, 0x9C)] == [True, False]
    assert [signs(manager, slot) for slot in (0x9A, 0x9D, 0x9E, 0x82, 0x9C)] == [True, True, True, True, False]
    manager.card.reset()
    assert [signs(manager, slot) for slot in (0x9A, 0x9E)] == [False, True]


def test_pin_always_means_just_before(manager: Host) -> None:
    manager.generate(0x9C)
    manager.generate(0x9A)
    for between in (
        lambda: manager.ok(Ins.GET_VERSION),
        lambda: manager.status(Ins.VERIFY, 0, 0x80),
        lambda: manager.use(0x9A, DIGEST),
        lambda: manager.use(0x9C, b""),
        lambda: manager.status(Ins.GENERAL_AUTHENTICATE, 0x11, 0x9C, b"\x7c"),
    ):
        manager.verify()
        between()
        assert not signs(manager, 0x9C)


@pytest.mark.parametrize(("slot", "policy"), list(itertools.product((0x9A, 0x9C, 0x9E), (NEVER, ONCE, ALWAYS))))
def test_a_policy_given_with_the_key_counts(manager: Host, slot: int, policy: bytes) -> None:
    manager.generate(slot, policies=policy)
    without = signs(manager, slot)
    manager.verify()
    assert [without, signs(manager, slot), signs(manager, slot)] == {
        NEVER: [True, True, True],
        ONCE: [False, True, True],
        ALWAYS: [False, True, False],
    }[policy]


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("", id="nothing"),
        pytest.param("ac00", id="no algorithm"),
        pytest.param("ac03800100", id="algorithm 0"),
        pytest.param("ac03800103", id="a symmetric algorithm"),
        pytest.param("ac03800106", id="RSA-1024"),
        pytest.param("ac0480021111", id="two bytes"),
        pytest.param("ac06800111800111", id="twice"),
        pytest.param("ac038001", id="cut off"),
        pytest.param("ad03800111", id="another template"),
        pytest.param("ac06800111aa0104", id="no such PIN policy"),
        pytest.param("ac05800111aa00", id="an empty PIN policy"),
        pytest.param("ac06800111ab0102", id="touch always: there is no button"),
        pytest.param("ac06800111ab0103", id="touch cached"),
        pytest.param("ac06800111830100", id="unknown"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused(manager: Host, template: str) -> None:
    assert manager.status(Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0, 0x9A, bytes.fromhex(template)) == 0x6A80
    assert manager.status(Ins.GET_METADATA, 0, 0x9A) == 0x6A88


@pytest.mark.parametrize("slot", REFUSED_SLOTS, ids=hex)
def test_keys_are_made_in_key_slots_only(manager: Host, slot: int) -> None:
    assert manager.status(Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0, slot, bytes.fromhex("ac03800111")) == 0x6A86


def test_keys_are_made_with_the_management_key_only(host: Host) -> None:
    host.verify()
    assert host.status(Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0, 0x9A, bytes.fromhex("ac03800111")) == 0x6982


def test_a_new_key_takes_the_place_of_the_old(manager: Host) -> None:
    first = ec_public(manager.generate(0x9E))
    second = ec_public(manager.generate(0x9E))
    signature = manager.use(0x9E, DIGEST)[1]
    second.verify(signature, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))
    with pytest.raises(InvalidSignature):
        first.verify(signature, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


@pytest.mark.parametrize(
    ("slot", "algorithm"),
    [(0x9E, Algorithm.P384), (0x9E, Algorithm.RSA2048), (0x9E, 0), (0x9A, Algorithm.P256), (0xF9, 0x11)],
)
def test_a_key_that_is_not_there_is_not_used(manager: Host, slot: int, algorithm: int) -> None:
    manager.generate(0x9E)
    manager.verify()
    assert manager.use(slot, DIGEST, algorithm) == (0x6A86, b"")


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x7c\x00", id="empty"),
        pytest.param(b"\x7c\x02\x82\x00", id="no challenge"),
        pytest.param(b"\x7c\x24\x82\x00\x81\x20" + DIGEST + b"\x00", id="more than the template"),
        pytest.param(b"\x7c\x22\x81\x20" + DIGEST, id="no response"),
        pytest.param(b"\x7c\x25\x82\x01\x00\x81\x20" + DIGEST, id="a response"),
        pytest.param(b"\x7c\x26\x82\x00\x80\x00\x81\x20" + DIGEST, id="a witness beside"),
        pytest.param(b"\x7c\x04\x82\x00\x81\x00", id="an empty challenge"),
        pytest.param(b"\x7c\x25\x82\x00\x81\x21" + DIGEST + b"\x00", id="33 bytes"),
        pytest.param(b"\x7c\x24\x82\x00\x85\x20" + DIGEST, id="no point"),
        pytest.param(b"\x7c\x45\x82\x00\x85\x41\x04" + bytes(64), id="a point beside the curve"),
        pytest.param(b"\x7c\x05\x82\x00\x85\x01\x00", id="the point at infinity"),
    ],
)
def test_malformed_uses_of_an_ec_key_are_refused(manager: Host, template: bytes) -> None:
    manager.generate(0x9E)
    assert manager.status(Ins.GENERAL_AUTHENTICATE, 0x11, 0x9E, template) == 0x6A80


@pytest.mark.parametrize(
    ("block", "tag"), [(bytes(255), 0x81), (bytes(257), 0x81), (b"\xff" * 256, 0x81), (bytes(256), 0x85), (b"", 0x81)]
)
def test_malformed_uses_of_an_rsa_key_are_refused(manager: Host, block: bytes, tag: int) -> None:
    manager.generate(0x9E, Algorithm.RSA2048)
    assert manager.use(0x9E, block, Algorithm.RSA2048, tag=tag)[0] == 0x6A80


def ec_components(key: ec.EllipticCurvePrivateKey) -> bytes:
    return encode(6, key.private_numbers().private_value.to_bytes(key.key_size // 8))


def rsa_components(key: rsa.RSAPrivateKey) -> bytes:
    numbers = key.private_numbers()
    values = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return b"".join(encode(tag, value.to_bytes(128)) for tag, value in enumerate(values, 1))


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("algorithm", list(CURVES))
def test_an_imported_ec_key_is_used(manager: Host, algorithm: Algorithm) -> None:
    key = ec.generate_private_key(CURVES[algorithm])
    assert manager.status(Ins.IMPORT_KEY, algorithm, 0x9E, ec_components(key)) == 0x9000
    signature = manager.use(0x9E, DIGEST.rjust(key.key_size // 8, b"\0"), algorithm)[1]
    hash_algorithm = {256: hashes.SHA256(), 384: hashes.SHA384()}[key.key_size]
    message = DIGEST.rjust(key.key_size // 8, b"\0")
    key.public_key().verify(signature, message, ec.ECDSA(Prehashed(hash_algorithm)))


def test_an_imported_rsa_key_is_used_under_its_policy(manager: Host, rsa_key: rsa.RSAPrivateKey) -> None:
    assert manager.status(Ins.IMPORT_KEY, 0x07, 0x9A, rsa_components(rsa_key) + NEVER) == 0x9000
    block = b"\x00" * 255 + b"\x02"
    raised = int.from_bytes(manager.use(0x9A, block, 0x07)[1])
    assert pow(raised, 65537, rsa_key.public_key().public_numbers().n) == 2


@pytest.mark.parametrize(
    ("algorithm", "components", "status"),
    [
        (0x11, "", 0x6A80),
        (0x11, "0600", 0x6A80),
        (0x11, "06" + "20" + "00" * 32, 0x6A80),
        (0x11, "06" + "20" + "ff" * 32, 0x6A80),
        (0x11, "0601050601", 0x6A80),
        (0x11, "060105070101", 0x6A80),
        (0x11, "060105ab0102", 0x6A80),
        (0x07, "060105", 0x6A80),
        (0x07, "010101020101030101040101050101", 0x6A80),
        (0x07, "0100020003000400" + "0500", 0x6A80),
        (0x07, "01038000000200030004000500", 0x6A80),
        (0x06, "060105", 0x6A86),
        (0x03, "060105", 0x6A86),
    ],
)
def test_what_is_no_key_is_not_imported(manager: Host, algorithm: int, components: str, status: int) -> None:
    assert manager.status(Ins.IMPORT_KEY, algorithm, 0x9E, bytes.fromhex(components)) == status
    assert manager.status(Ins.GET_METADATA, 0, 0x9E) == 0x6A88


def test_rsa_components_that_do_not_fit_together_are_refused(manager: Host, rsa_key: rsa.RSAPrivateKey) -> None:
    components = bytearray(rsa_components(rsa_key))
    components[-1] ^= 1
    assert manager.status(Ins.IMPORT_KEY, 0x07, 0x9E, bytes(components)) == 0x6A80
    numbers = rsa_key.private_numbers()
    same = b"".join(encode(tag, numbers.p.to_bytes(128)) for tag in range(1, 6))
    assert manager.status(Ins.IMPORT_KEY, 0x07, 0x9E, same) == 0x6A80


@pytest.mark.parametrize("slot", [slot for slot in REFUSED_SLOTS if slot != 0xF9], ids=hex)
def test_keys_are_imported_into_key_slots_only(manager: Host, slot: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert manager.status(Ins.IMPORT_KEY, 0x11, slot, ec_components(key)) == 0x6A86


def test_import_and_move_want_the_management_key(host: Host) -> None:
    host.verify()
    assert host.status(Ins.IMPORT_KEY, 0x11, 0x9A, b"\x06\x01\x05") == 0x6982
    assert host.status(Ins.MOVE_KEY, 0x82, 0x9A) == 0x6982


def test_a_key_is_moved_and_deleted(manager: Host) -> None:
    public = manager.generate(0x9E)
    assert manager.status(Ins.MOVE_KEY, 0x82, 0x9E) == 0x9000
    assert manager.status(Ins.GET_METADATA, 0, 0x9E) == 0x6A88
    # The policy is the key's, not the slot's.
    assert fields(manager.ok(Ins.GET_METADATA, 0, 0x82)) == {1: b"\x11", 2: b"\x01\x01", 3: b"\x01", 4: public}
    assert manager.status(Ins.MOVE_KEY, 0xFF, 0x82) == 0x9000
    assert manager.status(Ins.GET_METADATA, 0, 0x82) == 0x6A88


@pytest.mark.parametrize(
    ("to", "source", "data", "status"),
    [
        (0x9A, 0x9C, b"", 0x6A88),
        (0x9D, 0x9E, b"", 0x6985),
        (0x9E, 0x9E, b"", 0x6985),
        (0xFF, 0xF9, b"", 0x6A86),
        (0xF9, 0x9E, b"", 0x6A86),
        (0x9B, 0x9E, b"", 0x6A86),
        (0x82, 0x9E, b"x", 0x6700),
    ],
)
def test_other_moves_are_refused(manager: Host, to: int, source: int, data: bytes, status: int) -> None:
    manager.generate(0x9D)
    manager.generate(0x9E)
    assert manager.status(Ins.MOVE_KEY, to, source, data) == status
    for slot in (0x9D, 0x9E, 0xF9):
        assert manager.status(Ins.GET_METADATA, 0, slot) == 0x9000


def test_metadata_tells_what_is_default_and_how_many_tries_are_left(manager: Host) -> None:
    assert fields(manager.ok(Ins.GET_METADATA, 0, 0x80)) == {1: b"\xff", 5: b"\x01", 6: b"\x03\x03"}
    assert fields(manager.ok(Ins.GET_METADATA, 0, 0x81)) == {1: b"\xff", 5: b"\x01", 6: b"\x03\x03"}
    assert fields(manager.ok(Ins.GET_METADATA, 0, 0x9B)) == {1: b"\x03", 2: b"\x00\x01", 5: b"\x01"}
    manager.verify(b"00000000")
    manager.ok(Ins.CHANGE_REFERENCE_DATA, 0, 0x81, b"1234567887654321")
    manager.ok(Ins.SET_MANAGEMENT_KEY, 0xFF, 0xFF, b"\x08\x9b\x10" + bytes(range(16)))
    assert fields(manager.ok(Ins.GET_METADATA, 0, 0x80))[6] == b"\x03\x02"
    assert fields(manager.ok(Ins.GET_METADATA, 0, 0x81))[5] == b"\x00"
    assert fields(manager.ok(Ins.GET_METADATA, 0, 0x9B)) == {1: b"\x08", 2: b"\x00\x01", 5: b"\x00"}


@pytest.mark.parametrize(
    ("p1", "p2", "data", "status"),
    [(0, 0x9A, b"", 0x6A88), (0, 0, b"", 0x6A88), (1, 0x80, b"", 0x6A86), (0, 0x80, b"x", 0x6700)],
)
def test_metadata_of_nothing_is_refused(host: Host, p1: int, p2: int, data: bytes, status: int) -> None:
    assert host.status(Ins.GET_METADATA, p1, p2, data) == status
