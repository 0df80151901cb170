"""Slots: few, shared with other programs, and on cards that know less than this project's own."""

import contextlib
import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.hsm.errors import KeyGone, KeyRefused, KeyStoreError, NotSupported, TokenFull
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyUsage
from fidoloop.hsm.piv import tlv
from fidoloop.hsm.piv.container import Container
from fidoloop.hsm.piv.slots import SLOTS, slot_named
from fidoloop.hsm.piv.store import PivKeyStore

from .conftest import NOW, Desk
from .quirky_card import ATTEST, AUTHENTICATE, DELETE, GENERATE, GET_DATA, METADATA, PLAIN, PUT_DATA, QuirkyCard

SIGN, DERIVE = KeyUsage.SIGN, KeyUsage.DERIVE
DIGEST = bytes(32)


def make(store: PivKeyStore, key_id: bytes = b"id", *, place: str = "", usage: KeyUsage = SIGN) -> EcHardwareKey:
    key = store.generate(KeyAlgorithm.P256, usage, key_id=key_id, label="", place=place)
    assert isinstance(key, EcHardwareKey)
    return key


def foreign(card: QuirkyCard, place: str, *, usage: x509.KeyUsage | None = None, mscuid: bytes = b"") -> bytes:
    """Make a key as another program would, with a certificate in the slot's container; return its id here."""
    slot = slot_named(place)
    by_program = ec.generate_private_key(ec.SECP256R1())
    stored = _import(card, slot.reference, by_program)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "by ykman")])
    builder = x509.CertificateBuilder(name, name, stored, 7, NOW, NOW + datetime.timedelta(days=1))
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    der = builder.sign(by_program, hashes.SHA256()).public_bytes(Encoding.DER)
    card.state.objects[slot.certificate_object] = Container(der, mscuid).encode()
    return hashlib.sha256(stored.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _import(card: QuirkyCard, reference: int, key: ec.EllipticCurvePrivateKey) -> ec.EllipticCurvePublicKey:
    from fidoloop.hsm.sim.piv.private_keys import to_pkcs8
    from fidoloop.hsm.sim.piv.registry import Algorithm, Origin, PinPolicy
    from fidoloop.hsm.sim.piv.state import StoredKey

    card.state.keys[reference] = StoredKey(Algorithm.P256, to_pkcs8(key), PinPolicy.ONCE, Origin.IMPORTED)
    return key.public_key()


def test_retired_slots_come_first_then_those_for_the_usage_and_9e_never(store: PivKeyStore) -> None:
    places = [make(store, bytes((number,))).info.place for number in range(1, 23)]
    assert places == [f"{0x82 + number:02x}" for number in range(20)] + ["9a", "9c"]
    assert make(store, b"derives", usage=DERIVE).info.place == "9d"
    for usage in (SIGN, DERIVE):
        with pytest.raises(TokenFull, match="keys list"):
            make(store, b"one more", usage=usage)
    assert len(store.list()) == 23
    store.delete(b"\5")
    assert make(store, b"one more").info.place == "86"


def test_a_container_without_room_leaves_no_key_behind(card: QuirkyCard, store: PivKeyStore) -> None:
    card.answers[PUT_DATA] = lambda command, do: b"\x6a\x84" if 0x70 in command else do()
    with pytest.raises(TokenFull, match="no room"):
        make(store)
    assert 0x82 not in card.state.keys
    assert store.list() == []


def test_keys_of_other_programs_are_listed_by_the_hash_of_their_public_key(
    card: QuirkyCard, store: PivKeyStore
) -> None:
    key_id = foreign(card, "9a")
    (info,) = store.list()
    assert (info.key_id, info.label, info.place, info.usage) == (key_id, "by ykman", "9a", SIGN)
    # It was imported: it cannot be read out, but was outside once.
    assert (info.sensitive, info.extractable, info.never_extractable, info.local) == (True, False, False, False)
    key = store.key(key_id)
    assert isinstance(key, EcHardwareKey)
    assert len(key.sign_digest_raw(DIGEST)) == 64
    assert store.certificate(key_id) is not None


NAME = b"\x0c\x08by ykman"


@pytest.mark.parametrize(
    "broken", [b"\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff", b"\x03\x08\x00y ykman"], ids=["text", "type"]
)
def test_a_key_is_there_whatever_the_name_in_its_certificate(
    card: QuirkyCard, store: PivKeyStore, broken: bytes
) -> None:
    key_id = foreign(card, "9a")
    number = slot_named("9a").certificate_object
    before = card.state.objects[number]
    card.state.objects[number] = before.replace(NAME, broken)
    assert card.state.objects[number] != before
    (info,) = store.list()
    assert (info.key_id, info.label, info.usage) == (key_id, "", SIGN)


@pytest.mark.parametrize(
    ("place", "bits", "usage"),
    [
        ("9a", None, SIGN),
        ("9c", None, SIGN),
        ("9e", None, SIGN),
        ("9d", None, DERIVE),
        ("82", None, DERIVE),
        ("82", {"digital_signature": True}, SIGN),
        ("9a", {"key_agreement": True}, DERIVE),
        ("9a", {"digital_signature": True, "key_agreement": True}, SIGN | DERIVE),
        ("9a", {"key_encipherment": True}, SIGN),
    ],
)
def test_what_an_adopted_key_is_for_as_its_certificate_or_its_slot_says(
    card: QuirkyCard, store: PivKeyStore, place: str, bits: dict[str, bool] | None, usage: KeyUsage
) -> None:
    names = ["digital_signature", "key_agreement", "key_encipherment", "content_commitment", "data_encipherment"]
    names += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    extension = None if bits is None else x509.KeyUsage(**dict.fromkeys(names, False) | bits)
    foreign(card, place, usage=extension)
    assert [info.usage for info in store.list()] == [usage]


def test_another_programs_mscuid_is_kept_when_a_certificate_is_put(card: QuirkyCard, store: PivKeyStore) -> None:
    mscuid = bytes(range(16))
    key_id = foreign(card, "9a", mscuid=mscuid)
    key = store.key(key_id)
    assert isinstance(key, EcHardwareKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "new")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + datetime.timedelta(days=1))
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    store.put_certificate(key_id, der, "")
    content = tlv.fields(card.state.objects[slot_named("9a").certificate_object])
    assert (content[0x70], content[0x72]) == (der, mscuid)
    assert [info.key_id for info in store.list()] == [key_id]


@pytest.mark.parametrize(
    "content", [b"\x70\x05ab", b"\x01", tlv.encode(0x70, b"no certificate"), tlv.encode(0x70, b"") + b"\x71\x01\x00"]
)
def test_a_container_of_a_foreign_shape_is_left_alone(card: QuirkyCard, store: PivKeyStore, content: bytes) -> None:
    before = card.state.objects[0x5FC10D] = content
    assert store.list() == []
    assert make(store).info.place == "83"
    assert card.state.objects[0x5FC10D] == before


def test_a_key_without_a_certificate_is_seen_and_not_overwritten(card: QuirkyCard, store: PivKeyStore) -> None:
    _import(card, 0x82, ec.generate_private_key(ec.SECP256R1()))
    (info,) = store.list()
    assert (info.place, info.label) == ("82", "")
    assert make(store).info.place == "83"
    store.delete(info.key_id)
    assert make(store, b"next").info.place == "82"


def test_a_certificate_of_a_key_that_was_replaced_says_nothing_of_the_new_one(
    card: QuirkyCard, store: PivKeyStore
) -> None:
    key = make(store)
    other = _import(card, 0x82, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(KeyGone):
        store.delete(b"id")
    (info,) = store.list()
    assert (info.public_key, info.label, info.local) == (other, "", False)
    store.verify_pin("123456")
    store._card.connection.pause()  # another program's turn
    with pytest.raises(KeyGone, match="another one"):
        key.sign_digest_raw(DIGEST)


# --- cards that know less -----------------------------------------------------------------------------------------


def test_a_plain_card_does_everything_and_nothing_is_claimed_of_its_keys(desk: Desk) -> None:
    desk.card.unknown = set(PLAIN)
    with desk.open() as store:
        key = make(store)
        info = key.info
        assert (info.sensitive, info.extractable, info.never_extractable, info.local) == (False, True, False, False)
        assert len(key.sign_digest_raw(DIGEST)) == 64
        assert store.info().firmware == ""
        assert store.info().serial == tlv.fields(desk.card.state.objects[0x5FC102])[0x34].hex()
        assert store.attestation(b"id") is None
        make(store, b"9c", place="9c")
    with desk.open() as again:
        assert info in again.list()
        assert {one.pin_always for one in again.list()} == {True, False}


def test_a_plain_cards_deleted_key_is_destroyed_and_its_slot_used_again(desk: Desk) -> None:
    desk.card.unknown = set(PLAIN)
    with desk.open() as store:
        make(store)
        secret = desk.card.state.keys[0x82].private
        store.delete(b"id")
        assert desk.card.state.keys[0x82].private != secret
        assert store.list() == []
    with desk.open() as again:
        assert make(again, b"next").info.place == "82"


def test_a_card_with_metadata_that_cannot_delete_has_its_slots_back_too(desk: Desk) -> None:
    desk.card.unknown = {DELETE}
    with desk.open() as store:
        make(store)
        store.delete(b"id")
        assert store.list() == []
        assert make(store, b"next").info.place == "82"


def test_a_plain_cards_key_without_a_certificate_is_not_overwritten(desk: Desk) -> None:
    desk.card.unknown = set(PLAIN)
    theirs = _import(desk.card, 0x82, ec.generate_private_key(ec.SECP256R1()))
    with desk.open() as store:
        assert make(store).info.place == "83"
    from fidoloop.hsm.sim.piv.private_keys import from_pkcs8

    assert from_pkcs8(desk.card.state.keys[0x82].private).public_key() == theirs


def test_a_card_without_metadata_proves_its_keys_by_attestation(desk: Desk) -> None:
    desk.card.unknown = {METADATA, DELETE}
    with desk.open() as store:
        assert make(store).info.local
        foreign(desk.card, "9a")
        assert {info.place: info.local for info in store.list()} == {"82": True, "9a": False}
    with desk.open() as again:
        assert {info.place: info.local for info in again.list()} == {"82": True, "9a": False}


def test_a_card_without_retired_slots_has_the_others(desk: Desk) -> None:
    def refuse_retired(command: bytes, do: object) -> bytes:
        assert callable(do)
        answer: bytes = b"\x6a\x86" if 0x82 <= command[3] <= 0x95 else do()
        return answer

    desk.card.answers[GENERATE] = refuse_retired
    with desk.open() as store:
        assert make(store).info.place == "9a"
        assert make(store, b"derives", usage=DERIVE).info.place == "9d"
        assert make(store, b"two").info.place == "9c"
        with pytest.raises(TokenFull):
            make(store, b"three")


def test_an_algorithm_the_card_does_not_know_is_told(desk: Desk, store: PivKeyStore) -> None:
    desk.card.answers[GENERATE] = lambda _command, _do: b"\x6a\x80"
    with pytest.raises(NotSupported, match="of this kind"):
        make(store)


def test_a_card_that_lets_its_agreement_keys_sign_nothing_makes_them_all_the_same(desk: Desk) -> None:
    def only_agree(command: bytes, do: object) -> bytes:
        assert callable(do)
        signing = command[3] in range(0x82, 0x96) and b"\x81" in command[7:12]
        answer: bytes = b"\x6a\x80" if signing else do()
        return answer

    desk.card.answers[AUTHENTICATE] = only_agree
    with desk.open() as store:
        key = make(store, usage=DERIVE)
        other = ec.generate_private_key(ec.SECP256R1())
        assert key.exchange(ec.ECDH(), other.public_key()) == other.exchange(ec.ECDH(), key.public_key())
        with pytest.raises(KeyStoreError):
            make(store, b"signs")
        assert [info.key_id for info in store.list()] == [b"id"]
    with desk.open() as again:
        assert [info.usage for info in again.list()] == [DERIVE]


def test_a_key_the_card_says_it_did_not_make_is_refused_and_destroyed(desk: Desk, store: PivKeyStore) -> None:
    def imported(_command: bytes, do: object) -> bytes:
        assert callable(do)
        answer: bytes = do()
        return answer.replace(b"\x03\x01\x01", b"\x03\x01\x02")

    desk.card.answers[METADATA] = imported
    with pytest.raises(KeyRefused, match="made this key itself"):
        make(store)
    assert 0x82 not in desk.card.state.keys


def test_a_public_key_that_is_not_the_private_ones_is_refused(desk: Desk) -> None:
    desk.card.unknown = set(PLAIN)
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    encoded = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def lie(_command: bytes, do: object) -> bytes:
        assert callable(do)
        do()
        return tlv.encode(0x7F49, tlv.encode(0x86, encoded)) + b"\x90\x00"

    desk.card.answers[GENERATE] = lie
    with desk.open() as store:
        for usage in (SIGN, DERIVE):
            with pytest.raises(KeyRefused, match="private key"):
                make(store, usage=usage)
        desk.card.answers.clear()
        assert store.list() == []


def test_a_card_that_drops_the_mark_cannot_keep_keys(desk: Desk, store: PivKeyStore) -> None:
    def without_mscuid(command: bytes, do: object) -> bytes:
        assert callable(do)
        answer: bytes = do()
        content = desk.card.state.objects.get(0x5FC10D)
        if content is not None:
            desk.card.state.objects[0x5FC10D] = content.replace(b"\x72\x05FL", b"\x73\x05FL")
        return answer

    desk.card.answers[PUT_DATA] = without_mscuid
    with pytest.raises(KeyRefused, match="MSCUID"):
        make(store)
    assert 0x82 not in desk.card.state.keys


def test_a_card_that_insists_on_short_commands_is_spoken_to_in_chains(desk: Desk) -> None:
    from fidoloop.hsm.sim.apdu import parse_command

    long = []

    def refuse_extended(command: bytes, do: object) -> bytes:
        assert callable(do)
        if parse_command(command).extended:
            long.append(command)
            return b"\x67\x00"
        answer: bytes = do()
        return answer

    for instruction in (AUTHENTICATE, PUT_DATA):
        desk.card.answers[instruction] = refuse_extended
    with desk.open() as store:
        store.generate(KeyAlgorithm.RSA2048, SIGN, key_id=b"rsa", label="x" * 64)
        assert [info.label for info in store.list()] == ["x" * 64]
    assert len(long) == 1
    assert any(command[0] == 0x10 for command in desk.card.log)


def test_what_a_card_holds_back_is_fetched(desk: Desk) -> None:
    with desk.open() as store:
        make(store)
        desk.card.log.clear()
        assert [info.key_id for info in store.list()] == [b"id"]
    assert desk.card.sent(0xC0)  # GET RESPONSE: a certificate is longer than one answer


@pytest.mark.parametrize("instruction", [GET_DATA, METADATA, ATTEST, GENERATE])
@pytest.mark.parametrize("garbage", [b"\x90\x00", b"\x53\x82\xff\x90\x00", b"\x30\x90\x00", b"\xff" * 300])
def test_a_card_that_answers_garbage_gives_errors_of_ours(desk: Desk, instruction: int, garbage: bytes) -> None:
    with desk.open() as store:
        make(store)
        desk.card.answers[instruction] = lambda _command, _do: garbage
        for use in (store.list, lambda: make(store, b"other"), lambda: store.attestation(b"id")):
            with contextlib.suppress(KeyStoreError):
                use()


def test_every_slot_of_the_standard_is_there_once() -> None:
    assert len({slot.reference for slot in SLOTS}) == len({slot.certificate_object for slot in SLOTS}) == 24
    assert slot_named("95").certificate_object == 0x5FC120
