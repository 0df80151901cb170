"""The PIN is asked for once, and never sent again after the card refused it."""

import pytest

from fidoloop.hsm.errors import NotSupported, PinIncorrect, PinLocked, PinRequired
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyUsage
from fidoloop.hsm.open import change_pin, open_key_store, unblock_pin
from fidoloop.hsm.piv.store import PivKeyStore
from fidoloop.lab_card import PIN, PUK

from .conftest import Desk
from .quirky_card import AUTHENTICATE, CHANGE, UNBLOCK, VERIFY, QuirkyCard

DIGEST = bytes(32)


def make(store: PivKeyStore, place: str = "") -> EcHardwareKey:
    key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"id", label="", place=place)
    assert isinstance(key, EcHardwareKey)
    return key


def forget_pin(card: QuirkyCard) -> None:
    """What another program does to the card without pcscd noticing."""
    card._inner.transmit(bytes.fromhex("0020ff80"))


def test_the_pin_is_asked_for_once_with_the_cards_label(desk: Desk) -> None:
    asked = []

    def prompt(label: str) -> str:
        asked.append(label)
        return PIN

    with open_key_store(desk.uri(pin=None), pin_prompt=prompt) as store:
        assert isinstance(store, PivKeyStore)
        key = make(store)
        forget_pin(desk.card)
        key.sign_digest_raw(DIGEST)
    assert asked == ["fidoloop simulated card"]


def test_without_a_pin_nothing_is_sent(desk: Desk) -> None:
    with pytest.raises(PinRequired, match="pin-source"):
        open_key_store(desk.uri(pin=None))
    assert not desk.card.pins_sent()


def test_a_wrong_pin_costs_one_try_and_says_how_many_are_left(desk: Desk) -> None:
    with pytest.raises(PinIncorrect) as refused:
        open_key_store(desk.uri(pin="654321"))
    assert refused.value.tries_left == desk.card.state.pin.left == 2
    assert "654321" not in str(refused.value)
    assert len(desk.card.pins_sent()) == 1


@pytest.mark.parametrize("pin", ["", "123456789", "ü" * 5])
def test_what_can_be_no_pin_is_not_sent(desk: Desk, pin: str) -> None:
    with pytest.raises(PinIncorrect):
        open_key_store(desk.uri(pin=None), pin=pin)
    assert not desk.card.pins_sent()


def test_a_pin_that_was_changed_meanwhile_is_sent_once_and_never_again(desk: Desk, store: PivKeyStore) -> None:
    key = make(store)
    desk.card.state.pin.value = b"654321\xff\xff"
    forget_pin(desk.card)
    sent = len(desk.card.pins_sent())
    for _ in range(5):
        with pytest.raises(PinIncorrect):
            key.sign_digest_raw(DIGEST)
        with pytest.raises(PinIncorrect):
            store.list()
    assert len(desk.card.pins_sent()) == sent + 1
    assert desk.card.state.pin.left == 2
    store.verify_pin("654321")  # the user knows it, and the store does from then on
    assert len(key.sign_digest_raw(DIGEST)) == 64
    assert desk.card.state.pin.left == 3


def test_the_user_is_told_yes_or_no_and_the_store_stays_logged_in(desk: Desk, store: PivKeyStore) -> None:
    key = make(store)
    store.verify_pin(PIN)
    with pytest.raises(PinIncorrect) as refused:
        store.verify_pin("000000")
    assert refused.value.tries_left == 2
    assert len(key.sign_digest_raw(DIGEST)) == 64


def test_a_wrong_pin_typed_again_is_not_sent_again(desk: Desk, store: PivKeyStore) -> None:
    for _ in range(4):
        with pytest.raises(PinIncorrect):
            store.verify_pin("000000")
    assert desk.card.state.pin.left == 2
    assert desk.card.pins_sent().count(b"000000\xff\xff") == 1


def test_a_locked_pin_is_told_and_unblocked_by_the_puk(desk: Desk, store: PivKeyStore) -> None:
    key = make(store)
    for pin in ("000000", "000001"):
        with pytest.raises(PinIncorrect):
            store.verify_pin(pin)
    with pytest.raises(PinLocked, match="keys unblock"):
        store.verify_pin("000002")
    with pytest.raises(PinLocked):
        key.sign_digest_raw(DIGEST)
    with pytest.raises(PinLocked):
        desk.open()
    unblock_pin(desk.uri(pin=None), PUK, "192837")
    store.verify_pin("192837")
    assert len(key.sign_digest_raw(DIGEST)) == 64


def test_a_key_of_9c_has_the_pin_sent_right_before_each_use(desk: Desk, store: PivKeyStore) -> None:
    key = make(store, "9c")
    desk.card.log.clear()
    for _ in range(3):
        key.sign_digest_raw(DIGEST)
    uses = [command[1] for command in desk.card.log if command[1] in (VERIFY, AUTHENTICATE)]
    assert uses == [VERIFY, AUTHENTICATE] * 3


def test_a_card_that_says_so_wants_the_pin_always_in_other_slots_too(desk: Desk, store: PivKeyStore) -> None:
    make(store)
    # Imported by another program with PIN policy "always".
    stored = desk.card.state.keys[0x82]
    stored.pin_policy = type(stored.pin_policy)(3)
    with desk.open() as again:
        key = again.key(b"id")
        assert isinstance(key, EcHardwareKey)
        assert key.info.pin_always
        assert len(key.sign_digest_raw(DIGEST)) == 64


def test_the_pin_is_changed(desk: Desk) -> None:
    change_pin(desk.uri(pin=None), PIN, "87654321")
    assert desk.card.state.pin.value == b"87654321"
    with open_key_store(desk.uri(pin="87654321")) as store:
        assert store.list() == []


@pytest.mark.parametrize("new", ["12345", "123456789", ""])
def test_a_new_pin_that_is_none_is_refused_before_a_try_is_spent(desk: Desk, new: str) -> None:
    for change in (
        lambda: change_pin(desk.uri(pin=None), PIN, new),
        lambda: unblock_pin(desk.uri(pin=None), PUK, new),
    ):
        with pytest.raises(PinIncorrect):
            change()
    assert not desk.card.sent(CHANGE)
    assert not desk.card.sent(UNBLOCK)


def test_a_wrong_puk_and_old_pin_cost_one_try_each(desk: Desk) -> None:
    with pytest.raises(PinIncorrect, match="PUK") as refused:
        unblock_pin(desk.uri(pin=None), "87654321", "192837")
    assert refused.value.tries_left == 2
    with pytest.raises(PinIncorrect) as wrong:
        change_pin(desk.uri(pin=None), "000000", "192837")
    assert wrong.value.tries_left == 2


def test_pins_of_tokens_are_not_changed_here() -> None:
    with pytest.raises(NotSupported, match="own tools"):
        change_pin("pkcs11:token=x", "1", "2")
    with pytest.raises(NotSupported, match="own tools"):
        unblock_pin("pkcs11:token=x", "1", "2")
