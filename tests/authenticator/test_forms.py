"""Second factors, displays of images and displays by hash: as commands and behind the ASM."""

import hashlib
import struct

import pytest

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.commands.key_handles import KeyHandles
from fidoloop.authenticator.commands.processor import CommandProcessor
from fidoloop.authenticator.commands.registry import AuthenticatorType, Command, CommandTag
from fidoloop.authenticator.commands.user_verify_tokens import UserVerifyTokens
from fidoloop.authenticator.errors import AsmError, CommandStatus
from fidoloop.authenticator.models import IMAGES, Form
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import Prompt, VerificationRequest
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion
from fidoloop.protocol.uaf.messages import Transaction
from fidoloop.protocol.uaf.registry import AttestationType, AuthenticationMode, Tag, UserVerification
from fidoloop.protocol.uaf.status import AsmStatus
from tests.authenticator.conftest import APP_ID, FACET, FC_PARAMS
from tests.authenticator.pngs import png
from tests.authenticator.test_commands import Door, bound_authenticators, bytes_of, key_id_of, parse_values, signing

T = CommandTag
CONTENT = b"Pay 5 CHF to Bob"
HASH_OF_CONTENT = hashlib.sha256(CONTENT).digest()
FIRST = {Form.SECOND_FACTOR: "F10B#0116", Form.IMAGE_DISPLAY: "F10B#011A", Form.HASH_DISPLAY: "F10B#011E"}


class Person:
    """Says yes, and remembers what was asked."""

    def __init__(self) -> None:
        self.shown: list[VerificationRequest] = []
        self.prompt = Prompt(self._approve)

    def _approve(self, request: VerificationRequest) -> bool:
        self.shown.append(request)
        return True


@pytest.fixture
def person() -> Person:
    return Person()


def asm_of(store: KeyStore, state: AuthenticatorState, person: Person, form: Form) -> Asm:
    return Asm(store, state, person.prompt, caller_id=FACET, form=form)


def door_of(store: KeyStore, state: AuthenticatorState, person: Person, form: Form) -> Door:
    authenticators = bound_authenticators(asm_of(store, state, person, form))
    return Door(CommandProcessor(authenticators, KeyHandles(state, roaming=False), tokens=UserVerifyTokens()))


def registered(asm: Asm, aaid: str) -> bytes:
    full = int(AttestationType.BASIC_FULL)
    key_id, _ = asm.register(aaid, app_id=APP_ID, username="jeff", final_challenge=FC_PARAMS, attestation_type=full)
    return key_id


@pytest.mark.parametrize(
    ("form", "bits", "display", "content_type"),
    [
        (Form.SECOND_FACTOR, AuthenticatorType.SECOND_FACTOR, 1, b"text/plain"),
        (Form.IMAGE_DISPLAY, AuthenticatorType(0), 1, b"image/png"),
        (Form.HASH_DISPLAY, AuthenticatorType.TRANSACTION_HASH_ONLY, 3, b"text/plain"),
    ],
)
def test_get_info_says_what_form_it_is(  # noqa: PLR0917 - a table's columns
    store: KeyStore,
    state: AuthenticatorState,
    person: Person,
    form: Form,
    bits: AuthenticatorType,
    display: int,
    content_type: bytes,
) -> None:
    info = parse_values(door_of(store, state, person, form).ask(Command.GET_INFO, [])[2])
    values = dict(info)
    kind, *_, shown, _ = struct.unpack("<HBIHHHH", values[T.AUTHENTICATOR_METADATA])
    of_forms = AuthenticatorType.SECOND_FACTOR | AuthenticatorType.TRANSACTION_HASH_ONLY
    assert (kind & of_forms, shown, values[T.TC_DISPLAY_CONTENT_TYPE]) == (bits, display, content_type)
    assert values[Tag.AAID].decode() == FIRST[form]
    sizes = [value for tag, value in info if tag == T.TC_DISPLAY_PNG_CHARACTERISTICS]
    wanted = [struct.pack("<IIBBBBB", 320, 480, 8, colour, 0, 0, 0) for colour in (0, 2)]
    assert sizes == (wanted if form is Form.IMAGE_DISPLAY else [])


def test_a_second_factor_signs_with_the_first_handle_given_and_keeps_no_username(
    store: KeyStore, state: AuthenticatorState, person: Person
) -> None:
    door = door_of(store, state, person, Form.SECOND_FACTOR)
    first, second = door.register("jeff"), door.register("ann")
    assert {entry.username for entry in state.registrations()} == {""}
    for handles in ((first, second), (second, first), (b"nobody's", second), (second,)):
        signed = door.ask(Command.SIGN, signing(*handles))
        expected = next(handle for handle in handles if len(handle) > 32)[1:33]
        assert key_id_of(signed[1]) == expected
    assert door.status(Command.SIGN, signing()) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY


def test_behind_the_asm_a_second_factor_wants_the_key_named(
    store: KeyStore, state: AuthenticatorState, person: Person
) -> None:
    asm = asm_of(store, state, person, Form.SECOND_FACTOR)
    aaid = FIRST[Form.SECOND_FACTOR]
    key_id, other = registered(asm, aaid), registered(asm, aaid)
    nothing: list[bytes] = []
    for unnamed in (None, nothing):
        with pytest.raises(AsmError) as refused:
            asm.authenticate(aaid, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=unnamed)
        assert refused.value.status is AsmStatus.ACCESS_DENIED
    raw = asm.authenticate(aaid, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[other, key_id])
    assert parse_authentication_assertion(raw).key_id == other
    assert asm.deregister(aaid, app_id=APP_ID, key_id=key_id) == [key_id]


def test_an_authenticator_that_takes_hashes_takes_nothing_else(
    store: KeyStore, state: AuthenticatorState, person: Person
) -> None:
    door = door_of(store, state, person, Form.HASH_DISPLAY)
    handle = door.register()
    hashed: list[tuple[int, bytes]] = [(Tag.TRANSACTION_CONTENT_HASH, HASH_OF_CONTENT)]
    content: list[tuple[int, bytes]] = [(T.TRANSACTION_CONTENT, CONTENT)]
    short: list[tuple[int, bytes]] = [(Tag.TRANSACTION_CONTENT_HASH, HASH_OF_CONTENT[:-1])]
    for extra in (content, content + hashed, short):
        assert door.status(Command.SIGN, signing(handle, extra=extra)) is CommandStatus.PARAMS_INVALID
    signed = parse_authentication_assertion(bytes_of(door.ask(Command.SIGN, signing(handle, extra=hashed))[1]))
    assert signed.authentication_mode == AuthenticationMode.TRANSACTION_CONFIRMED
    assert signed.transaction_content_hash == HASH_OF_CONTENT
    plain = parse_authentication_assertion(bytes_of(door.ask(Command.SIGN, signing(handle))[1]))
    assert (plain.authentication_mode, plain.transaction_content_hash) == (AuthenticationMode.USER_VERIFIED, b"")


def test_nothing_is_signed_by_hash_for_a_user_who_was_not_verified(
    store: KeyStore, state: AuthenticatorState, person: Person
) -> None:
    handle = door_of(store, state, person, Form.HASH_DISPLAY).register()
    refusing = Prompt(lambda _: False)
    authenticators = bound_authenticators(Asm(store, state, refusing, caller_id=FACET, form=Form.HASH_DISPLAY))
    door = Door(CommandProcessor(authenticators, KeyHandles(state, roaming=False)))
    hashed: list[tuple[int, bytes]] = [(Tag.TRANSACTION_CONTENT_HASH, HASH_OF_CONTENT)]
    assert door.status(Command.SIGN, signing(handle, extra=hashed)) is CommandStatus.USER_CANCELLED


def test_the_asm_shows_what_is_signed_by_hash(store: KeyStore, state: AuthenticatorState, person: Person) -> None:
    asm, aaid = asm_of(store, state, person, Form.HASH_DISPLAY), FIRST[Form.HASH_DISPLAY]
    key_id = registered(asm, aaid)
    raw = asm.authenticate(
        aaid,
        app_id=APP_ID,
        final_challenge=FC_PARAMS,
        key_ids=[key_id],
        transactions=[Transaction("text/plain", base64url.encode(CONTENT))],
    )
    assert parse_authentication_assertion(raw).transaction_content_hash == HASH_OF_CONTENT
    assert [request.transaction_text for request in person.shown] == [None, CONTENT.decode()]  # asked once for each


def image_of(content: bytes, index: int = 0) -> Transaction:
    return Transaction("image/png", base64url.encode(content), IMAGES[index])


TEXT = Transaction("text/plain", base64url.encode(CONTENT))


@pytest.mark.parametrize("colour", [0, 2])
def test_an_image_of_the_displays_size_is_shown_and_its_hash_signed(
    store: KeyStore, state: AuthenticatorState, person: Person, colour: int
) -> None:
    asm, aaid, image = asm_of(store, state, person, Form.IMAGE_DISPLAY), FIRST[Form.IMAGE_DISPLAY], png(colour=colour)
    key_id = registered(asm, aaid)
    raw = asm.authenticate(
        aaid,
        app_id=APP_ID,
        final_challenge=FC_PARAMS,
        key_ids=[key_id],
        transactions=[TEXT, image_of(image, colour // 2)],
    )
    assert parse_authentication_assertion(raw).transaction_content_hash == hashlib.sha256(image).digest()
    assert (person.shown[-1].transaction_image, person.shown[-1].transaction_text) == (image, None)
    assert person.prompt.method is UserVerification.PRESENCE


@pytest.mark.parametrize(
    "transaction",
    [
        TEXT,
        image_of(png(321)),
        image_of(png(depth=16)),
        image_of(png(320, 479)),
        image_of(b"\x89PNG\r\n\x1a\nshort"),
        Transaction("image/png", base64url.encode(png())),
    ],
    ids=range(6),
)
def test_what_the_display_cannot_show_is_not_signed(
    store: KeyStore, state: AuthenticatorState, person: Person, transaction: Transaction
) -> None:
    asm, aaid = asm_of(store, state, person, Form.IMAGE_DISPLAY), FIRST[Form.IMAGE_DISPLAY]
    key_id = registered(asm, aaid)
    asked = len(person.shown)
    with pytest.raises(AsmError) as refused:
        asm.authenticate(aaid, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id], transactions=[transaction])
    assert refused.value.status is AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT
    assert len(person.shown) == asked
