"""Authenticator commands as bytes, over a real token: elements, statuses, tokens and key handles."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.commands.key_handles import KeyHandles
from fidoloop.authenticator.commands.processor import CommandProcessor
from fidoloop.authenticator.commands.reading import LAYOUTS, MAX_COMMAND_BYTES, MAX_KEY_HANDLES
from fidoloop.authenticator.commands.registry import AuthenticatorType, Command, CommandTag
from fidoloop.authenticator.commands.user_verify_tokens import LIFETIME_SECONDS, UserVerifyTokens
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.authenticator.models import models_of
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.uaf_authenticator import UafAuthenticator
from fidoloop.authenticator.user_verification import (
    AutoApprove,
    Deny,
    NotVerifiedHere,
    Prompt,
    UserVerifier,
    VerificationRequest,
)
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.registry import AttestationType, Tag, UserVerification
from fidoloop.protocol.uaf.tlv import Element, element, parse, sequence
from tests.authenticator.conftest import APP_ID, FACET

HASH = bytes(range(32))
ACCESS_TOKEN = b"t" * 32
FULL = struct.pack("<H", AttestationType.BASIC_FULL)
T = CommandTag
Elements = list[tuple[int, bytes]]


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Door:
    """A processor and what its answers say."""

    processor: CommandProcessor
    tokens: UserVerifyTokens | None = None
    clock: Clock = field(default_factory=Clock)

    def ask(self, command: int, elements: Sequence[tuple[int, bytes]], token: bytes | None = None) -> list[Element]:
        status, raw = self.processor.process(element(command, sequence(*elements)), token)
        (outer,) = parse(raw)
        assert outer.tag == command + 0x200
        assert not isinstance(outer.value, bytes)
        assert outer.value[0] == (T.STATUS_CODE, struct.pack("<H", status))
        return list(outer.value)

    def status(self, command: int, elements: Sequence[tuple[int, bytes]], token: bytes | None = None) -> CommandStatus:
        answer = self.ask(command, elements, token)
        status = CommandStatus(int.from_bytes(bytes_of(answer[0]), "little"))
        assert status is CommandStatus.OK or len(answer) == 1
        return status

    def register(self, username: str = "jeff", access_token: bytes = ACCESS_TOKEN) -> bytes:
        """Register and return the key handle; of a roaming authenticator the KeyID, which is its handle."""
        answer = self.ask(Command.REGISTER, registration(username=username, access_token=access_token))
        assert [one.tag for one in answer[:2]] == [T.STATUS_CODE, T.AUTHENTICATOR_ASSERTION]
        if len(answer) == 3:
            assert answer[2].tag == T.KEYHANDLE
            return bytes_of(answer[2])
        return parse_registration_assertion(bytes_of(answer[1])).key_id


def bytes_of(one: Element) -> bytes:
    assert isinstance(one.value, bytes)
    return one.value


def bound_authenticators(asm: Asm) -> list[UafAuthenticator]:
    return [one for one in asm.authenticators.values() if isinstance(one, UafAuthenticator)]


def door(
    store: KeyStore,
    state: AuthenticatorState,
    verifier: UserVerifier,
    *,
    roaming: bool = False,
    tokens: bool = False,
) -> Door:
    clock = Clock()
    issued = UserVerifyTokens(clock=clock) if tokens else None
    authenticators = bound_authenticators(Asm(store, state, verifier, caller_id=FACET))
    return Door(CommandProcessor(authenticators, KeyHandles(state, roaming=roaming), tokens=issued), issued, clock)


@pytest.fixture
def bound(store: KeyStore, state: AuthenticatorState) -> Door:
    return door(store, state, AutoApprove())


@pytest.fixture
def roaming(store: KeyStore, state: AuthenticatorState) -> Door:
    return door(store, state, AutoApprove(), roaming=True)


def registration(username: str = "jeff", access_token: bytes = ACCESS_TOKEN) -> Elements:
    return [
        (T.AUTHENTICATOR_INDEX, b"\0"),
        (T.APPID, APP_ID.encode()),
        (Tag.FINAL_CHALLENGE_HASH, HASH),
        (T.USERNAME, username.encode()),
        (T.ATTESTATION_TYPE, FULL),
        (T.KEYHANDLE_ACCESS_TOKEN, access_token),
    ]


def signing(*handles: bytes, extra: Elements | None = None, access_token: bytes = ACCESS_TOKEN) -> Elements:
    return [
        (T.AUTHENTICATOR_INDEX, b"\0"),
        (T.APPID, APP_ID.encode()),
        (Tag.FINAL_CHALLENGE_HASH, HASH),
        *(extra or []),
        (T.KEYHANDLE_ACCESS_TOKEN, access_token),
        *((T.KEYHANDLE, handle) for handle in handles),
    ]


def deregistering(key_id: bytes, app_id: str | None = APP_ID, access_token: bytes = ACCESS_TOKEN) -> Elements:
    app = [(int(T.APPID), app_id.encode())] if app_id is not None else []
    return [(T.AUTHENTICATOR_INDEX, b"\0"), *app, (Tag.KEYID, key_id), (T.KEYHANDLE_ACCESS_TOKEN, access_token)]


def key_id_of(assertion: Element) -> bytes:
    assert assertion.tag == T.AUTHENTICATOR_ASSERTION
    return parse_authentication_assertion(bytes_of(assertion)).key_id


def test_get_info_names_every_authenticator_with_its_metadata(store: KeyStore, state: AuthenticatorState) -> None:
    uaf = door(store, state, Prompt(lambda _: True), tokens=True)
    _, version, *infos = uaf.ask(Command.GET_INFO, [])
    assert version == (T.API_VERSION, b"\1")
    tags = [T.AUTHENTICATOR_INDEX, Tag.AAID, T.AUTHENTICATOR_METADATA, T.TC_DISPLAY_CONTENT_TYPE, T.ASSERTION_SCHEME]
    models = models_of(store.info(), UserVerification.PRESENCE)
    for index, (info, model) in enumerate(zip(infos, models, strict=True)):
        assert info.tag == T.AUTHENTICATOR_INFO
        assert [one[0] for one in info.value if isinstance(one, Element)] == [*tags, T.ATTESTATION_TYPE]
        values = {one.tag: one.value for one in info.value if isinstance(one, Element)}
        assert values[T.AUTHENTICATOR_INDEX] == bytes([index])
        metadata = values[T.AUTHENTICATOR_METADATA]
        assert isinstance(metadata, bytes)
        kind, handles, verification, protection, matcher, display, algorithm = struct.unpack("<HBIHHHH", metadata)
        assert (handles, verification, protection, matcher, display) == (MAX_KEY_HANDLES, 1, 1, 1, 1)
        assert AuthenticatorType(kind) == (
            AuthenticatorType.HANDLES_INSIDE
            | AuthenticatorType.OWN_VERIFICATION_UI
            | AuthenticatorType.WANTS_APPID
            | AuthenticatorType.USER_ENROLLED
            | AuthenticatorType.USER_VERIFY_TOKEN
        )
        assert algorithm == model.key_kind.algorithm
    assert [dict(parse_values(info))[Tag.AAID].decode() for info in infos] == [model.aaid for model in models]


def parse_values(info: Element) -> Elements:
    return [(one.tag, one.value) for one in info.value if isinstance(one, Element) and isinstance(one.value, bytes)]


def test_a_silent_model_has_no_display_and_a_roaming_one_no_window_of_its_own(roaming: Door) -> None:
    info = dict(parse_values(roaming.ask(Command.GET_INFO, [])[2]))
    kind, *_, display, _ = struct.unpack("<HBIHHHH", info[T.AUTHENTICATOR_METADATA])
    assert T.TC_DISPLAY_CONTENT_TYPE not in info
    assert display == 0
    assert kind & (AuthenticatorType.ROAMING | AuthenticatorType.OWN_VERIFICATION_UI) == AuthenticatorType.ROAMING


def test_a_bound_authenticator_gives_a_handle_and_signs_with_it(bound: Door) -> None:
    answer = bound.ask(Command.REGISTER, registration())
    registered = parse_registration_assertion(bytes_of(answer[1]))
    handle = bytes_of(answer[2])
    assert registered.final_challenge_hash == HASH
    assert handle[1:33] == registered.key_id
    assert len(handle) == 1 + 32 + 32
    _, assertion = bound.ask(Command.SIGN, signing(handle))
    signed = parse_authentication_assertion(bytes_of(assertion))
    assert (signed.key_id, signed.final_challenge_hash, signed.sign_counter) == (registered.key_id, HASH, 1)
    assert (signed.authentication_mode, signed.transaction_content_hash) == (1, b"")


@pytest.mark.parametrize("at", [0, 1, 32, 33, 64])
def test_a_changed_handle_opens_nothing(bound: Door, at: int) -> None:
    handle = bytearray(bound.register())
    handle[at] ^= 1
    assert bound.status(Command.SIGN, signing(bytes(handle))) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY


def test_handles_that_are_cut_bare_or_of_another_model_open_nothing(bound: Door) -> None:
    handle = bound.register()
    for wrong in (handle[:-1], handle + b"\0", handle[1:33], handle[:33], b"\1"):
        assert bound.status(Command.SIGN, signing(wrong)) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY
    other_model = [(T.AUTHENTICATOR_INDEX, b"\1"), *signing(handle)[1:]]
    assert bound.status(Command.SIGN, other_model) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY
    assert bound.status(Command.SIGN, signing()) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY
    assert bound.status(Command.SIGN, signing(b"\1", handle)) is CommandStatus.OK


def test_a_roaming_authenticator_keeps_its_handles_and_takes_key_ids(roaming: Door) -> None:
    assert roaming.status(Command.SIGN, signing()) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY
    key_id = roaming.register()
    assert key_id_of(roaming.ask(Command.SIGN, signing())[1]) == key_id
    assert key_id_of(roaming.ask(Command.SIGN, signing(key_id))[1]) == key_id
    assert roaming.status(Command.SIGN, signing(bytes(32))) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY


@pytest.mark.parametrize("kind", ["bound", "roaming"])
def test_the_access_token_of_another_caller_opens_no_key(kind: str, request: pytest.FixtureRequest) -> None:
    uaf: Door = request.getfixturevalue(kind)
    handle = uaf.register()
    denied = CommandStatus.ACCESS_DENIED
    assert uaf.status(Command.SIGN, signing(handle, access_token=b"x" * 32)) is denied
    assert uaf.status(Command.SIGN, signing(handle, access_token=ACCESS_TOKEN[:-1])) is denied
    assert uaf.status(Command.SIGN, signing(handle)) is CommandStatus.OK


@pytest.mark.parametrize("kind", ["bound", "roaming"])
def test_where_several_keys_fit_usernames_come_with_handles_newest_last(
    kind: str, request: pytest.FixtureRequest
) -> None:
    uaf: Door = request.getfixturevalue(kind)
    handles = [uaf.register(name) for name in ("jeff", "ann", "jeff")]
    uaf.register("somebody of another caller", access_token=b"x" * 32)
    answer = uaf.ask(Command.SIGN, signing(*handles))
    assert [one.tag for one in answer[1:]] == [T.USERNAME_AND_KEYHANDLE] * 3
    assert [parse_values(one) for one in answer[1:]] == [
        [(T.USERNAME, name), (T.KEYHANDLE, handle)]
        for name, handle in zip((b"jeff", b"ann", b"jeff"), handles, strict=True)
    ]
    assert uaf.ask(Command.SIGN, signing(handles[1]))[1].tag == T.AUTHENTICATOR_ASSERTION


def test_usernames_are_not_told_without_the_user(store: KeyStore, state: AuthenticatorState) -> None:
    willing = door(store, state, Prompt(lambda _: True))
    handles = [willing.register(name) for name in ("jeff", "ann")]
    unwilling = door(store, state, Deny())
    assert unwilling.status(Command.SIGN, signing(*handles)) is CommandStatus.USER_CANCELLED


def test_a_transaction_is_shown_and_signed_in_mode_2(store: KeyStore, state: AuthenticatorState) -> None:
    shown: list[str | None] = []

    def approve(request: VerificationRequest) -> bool:
        shown.append(request.transaction_text)
        return True

    uaf = door(store, state, Prompt(approve), tokens=True)
    handle = uaf.register()
    content: Elements = [(T.TRANSACTION_CONTENT, b"Pay 5")]
    signed = parse_authentication_assertion(bytes_of(uaf.ask(Command.SIGN, signing(handle, extra=content))[1]))
    assert (signed.authentication_mode, shown[-1]) == (2, "Pay 5")
    assert uaf.tokens is not None
    token = uaf.tokens.issue(UserVerification.PRESENCE)
    uaf.ask(Command.SIGN, signing(handle, extra=content), token)
    assert len(shown) == 3  # a user-verify token stands for nobody having read this transaction


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ([(Tag.TRANSACTION_CONTENT_HASH, HASH)], CommandStatus.PARAMS_INVALID),
        ([(T.TRANSACTION_CONTENT, b"Pay 5"), (Tag.TRANSACTION_CONTENT_HASH, HASH)], CommandStatus.PARAMS_INVALID),
        ([(Tag.TRANSACTION_CONTENT_HASH, b"")], CommandStatus.OK),
        ([(T.TRANSACTION_CONTENT, b"Pay\x1b[2K")], CommandStatus.CANNOT_RENDER_TRANSACTION_CONTENT),
        ([(T.TRANSACTION_CONTENT, b"")], CommandStatus.PARAMS_INVALID),
    ],
)
def test_content_or_its_hash_but_only_what_this_display_takes(
    store: KeyStore, state: AuthenticatorState, extra: Elements, status: CommandStatus
) -> None:
    uaf = door(store, state, Prompt(lambda _: True))
    assert uaf.status(Command.SIGN, signing(uaf.register(), extra=extra)) is status


def test_a_silent_model_shows_no_transaction(bound: Door) -> None:
    content: Elements = [(T.TRANSACTION_CONTENT, b"Pay 5")]
    assert bound.status(Command.SIGN, signing(bound.register(), extra=content)) is CommandStatus.ACCESS_DENIED


def test_a_key_destroyed_in_the_token_has_disappeared(roaming: Door, store: KeyStore) -> None:
    key_id = roaming.register()
    store.delete(key_id)
    assert roaming.status(Command.SIGN, signing(key_id)) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY


def test_deregistering_takes_the_token_and_tells_nothing_of_unknown_keys(roaming: Door, store: KeyStore) -> None:
    key_id = roaming.register()
    denied = CommandStatus.ACCESS_DENIED
    assert roaming.status(Command.DEREGISTER, deregistering(key_id, access_token=b"x")) is denied
    assert roaming.status(Command.DEREGISTER, deregistering(bytes(32))) is denied
    assert roaming.status(Command.DEREGISTER, deregistering(key_id, app_id="https://other.example")) is denied
    assert roaming.status(Command.DEREGISTER, deregistering(key_id)) is CommandStatus.OK
    assert key_id not in {info.key_id for info in store.list()}
    assert roaming.status(Command.SIGN, signing(key_id)) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY


def test_an_empty_key_id_deregisters_all_of_the_application(roaming: Door) -> None:
    mine = [roaming.register(), roaming.register()]
    assert roaming.status(Command.DEREGISTER, deregistering(b"")) is CommandStatus.OK
    for key_id in mine:
        assert roaming.status(Command.SIGN, signing(key_id)) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY


def test_one_key_of_another_caller_and_not_all_are_deregistered(roaming: Door) -> None:
    key_id = roaming.register()
    roaming.register(access_token=b"x" * 32)
    assert roaming.status(Command.DEREGISTER, deregistering(b"")) is CommandStatus.ACCESS_DENIED
    assert roaming.status(Command.SIGN, signing(key_id)) is CommandStatus.OK


def test_without_an_app_id_the_access_token_says_whose_keys_are_meant(roaming: Door) -> None:
    key_id, other = roaming.register(), roaming.register(access_token=b"x" * 32)
    assert roaming.status(Command.DEREGISTER, deregistering(b"", app_id=None)) is CommandStatus.OK
    assert roaming.status(Command.SIGN, signing(key_id)) is CommandStatus.KEY_DISAPPEARED_PERMANENTLY
    assert roaming.status(Command.SIGN, signing(other, access_token=b"x" * 32)) is CommandStatus.OK
    assert roaming.status(Command.DEREGISTER, deregistering(other, None, b"x" * 32)) is CommandStatus.OK


def no_answer(_: object) -> bool | None:
    return None


@pytest.mark.parametrize(
    ("verifier", "status"),
    [
        (Deny(), CommandStatus.USER_CANCELLED),
        (Prompt(no_answer), CommandStatus.USER_NOT_RESPONSIVE),
        (NotVerifiedHere(UserVerification.PRESENCE), CommandStatus.ACCESS_DENIED),
    ],
    ids=["no", "silence", "nobody asked"],
)
def test_without_the_user_nothing_is_made_or_signed(
    store: KeyStore, state: AuthenticatorState, verifier: UserVerifier, status: CommandStatus
) -> None:
    handle = door(store, state, Prompt(lambda _: True)).register()
    keys = len(store.list())
    uaf = door(store, state, verifier)
    assert uaf.status(Command.REGISTER, registration()) is status
    assert uaf.status(Command.SIGN, signing(handle)) is status
    assert len(store.list()) == keys


@pytest.fixture
def elsewhere(store: KeyStore, state: AuthenticatorState) -> Door:
    """Authenticators whose users are verified elsewhere."""
    return door(store, state, NotVerifiedHere(UserVerification.PRESENCE), tokens=True, roaming=True)


def test_a_user_verify_token_is_good_for_one_operation(elsewhere: Door) -> None:
    assert elsewhere.tokens is not None
    token: Elements = [(T.USERVERIFY_TOKEN, elsewhere.tokens.issue(UserVerification.PRESENCE))]
    assert elsewhere.status(Command.REGISTER, registration() + token) is CommandStatus.OK
    assert elsewhere.status(Command.REGISTER, registration() + token) is CommandStatus.ACCESS_DENIED
    token = [(T.USERVERIFY_TOKEN, elsewhere.tokens.issue(UserVerification.PRESENCE))]
    assert elsewhere.status(Command.SIGN, signing() + token) is CommandStatus.OK
    assert elsewhere.status(Command.SIGN, signing() + token) is CommandStatus.ACCESS_DENIED


def test_a_user_verify_token_outlasts_the_list_of_usernames(elsewhere: Door) -> None:
    assert elsewhere.tokens is not None
    for name in ("jeff", "ann"):
        elsewhere.ask(Command.REGISTER, registration(name), elsewhere.tokens.issue(UserVerification.PRESENCE))
    token = elsewhere.tokens.issue(UserVerification.PRESENCE)
    listed = elsewhere.ask(Command.SIGN, signing(), token)
    (_, handle) = parse_values(listed[1])[1]
    assert elsewhere.status(Command.SIGN, signing(handle), token) is CommandStatus.OK
    assert elsewhere.status(Command.SIGN, signing(handle), token) is CommandStatus.ACCESS_DENIED


def test_a_user_verify_token_ends_is_void_after_the_next_and_claims_no_more_than_was_done(elsewhere: Door) -> None:
    tokens = elsewhere.tokens
    assert tokens is not None
    token = tokens.issue(UserVerification.PRESENCE)
    elsewhere.clock.now += LIFETIME_SECONDS
    assert elsewhere.status(Command.REGISTER, registration(), token) is CommandStatus.ACCESS_DENIED
    first = tokens.issue(UserVerification.PRESENCE)
    tokens.issue(UserVerification.PRESENCE)
    assert elsewhere.status(Command.REGISTER, registration(), first) is CommandStatus.ACCESS_DENIED
    weaker = tokens.issue(UserVerification.NONE)
    assert elsewhere.status(Command.REGISTER, registration(), weaker) is CommandStatus.ACCESS_DENIED
    assert elsewhere.status(Command.REGISTER, registration(), bytes(32)) is CommandStatus.ACCESS_DENIED


def test_where_no_user_verify_tokens_are_issued_one_is_a_wrong_parameter(bound: Door) -> None:
    token: Elements = [(T.USERVERIFY_TOKEN, bytes(32))]
    assert bound.status(Command.REGISTER, registration() + token) is CommandStatus.PARAMS_INVALID


def without(elements: Elements, tag: int) -> Elements:
    return [one for one in elements if one[0] != tag]


def changed(elements: Elements, tag: int, value: bytes) -> Elements:
    return [(found, value if found == tag else old) for found, old in elements]


WHOLE: dict[Command, Elements] = {
    Command.REGISTER: registration(),
    Command.SIGN: signing(b"h"),
    Command.DEREGISTER: deregistering(b"k"),
    Command.OPEN_SETTINGS: [(T.AUTHENTICATOR_INDEX, b"\0")],
}
REQUIRED = [(command, one.tag) for command in WHOLE for one in LAYOUTS[command] if one.required]


@pytest.mark.parametrize(("command", "tag"), REQUIRED)
def test_each_required_element_must_be_there(bound: Door, command: Command, tag: int) -> None:
    assert bound.status(command, without(WHOLE[command], tag)) is CommandStatus.PARAMS_INVALID


SIZED = [(command, one) for command in WHOLE for one in LAYOUTS[command] if one.tag in dict(WHOLE[command])]


@pytest.mark.parametrize(("command", "field"), SIZED)
def test_each_element_has_its_size(bound: Door, command: Command, field: tuple[int, int, int]) -> None:
    tag, least, most = field[:3]
    too_long = changed(WHOLE[command], tag, bytes(most + 1))
    assert bound.status(command, too_long) is CommandStatus.PARAMS_INVALID
    if least:
        too_short = changed(WHOLE[command], tag, bytes(least - 1))
        assert bound.status(command, too_short) is CommandStatus.PARAMS_INVALID


@pytest.mark.parametrize("command", [command for command in WHOLE if len(WHOLE[command]) > 1])
def test_the_order_is_kept_and_nothing_stands_twice(bound: Door, command: Command) -> None:
    whole = WHOLE[command]
    for at in range(len(whole) - 1):
        swapped = [*whole[:at], whole[at + 1], whole[at], *whole[at + 2 :]]
        assert bound.status(command, swapped) is CommandStatus.PARAMS_INVALID
        doubled = [*whole[: at + 1], *whole[at:]]
        assert bound.status(command, doubled) is CommandStatus.PARAMS_INVALID


@pytest.mark.parametrize("command", list(Command))
@pytest.mark.parametrize("tag", [0x2FFF, 0x3FFF, Tag.EXTENSION, T.STATUS_CODE, T.TOTAL_LENGTH, Tag.SIGNATURE])
def test_a_critical_element_that_is_not_known_is_refused(bound: Door, command: Command, tag: int) -> None:
    whole = WHOLE.get(command, [])
    for at in range(len(whole) + 1):
        assert bound.status(command, [*whole[:at], (tag, b""), *whole[at:]]) is CommandStatus.PARAMS_INVALID


@pytest.mark.parametrize("tag", [0x0103, 0x1FFF, Tag.EXTENSION_NON_CRITICAL])
def test_an_element_that_may_be_ignored_is(bound: Door, tag: int) -> None:
    whole = deregistering(b"")
    for at in range(len(whole) + 1):
        assert bound.status(Command.DEREGISTER, [*whole[:at], (tag, b""), *whole[at:]]) is CommandStatus.OK


@pytest.mark.parametrize(
    ("elements", "status"),
    [
        (changed(registration(), T.AUTHENTICATOR_INDEX, b"\xff"), CommandStatus.PARAMS_INVALID),
        (changed(registration(), T.APPID, b"\xff"), CommandStatus.PARAMS_INVALID),
        (changed(registration(), Tag.FINAL_CHALLENGE_HASH, bytes(48)), CommandStatus.PARAMS_INVALID),
        (changed(registration(), T.USERNAME, b"\xc3"), CommandStatus.PARAMS_INVALID),
        (changed(registration(), T.ATTESTATION_TYPE, b"\x08\x3e"), CommandStatus.ATTESTATION_NOT_SUPPORTED),
        (changed(registration(), T.ATTESTATION_TYPE, b"\x3e\x07"), CommandStatus.ATTESTATION_NOT_SUPPORTED),
    ],
)
def test_values_that_cannot_be(bound: Door, store: KeyStore, elements: Elements, status: CommandStatus) -> None:
    keys = len(store.list())
    assert bound.status(Command.REGISTER, elements) is status
    assert len(store.list()) == keys


def test_more_handles_than_get_info_says_are_refused(bound: Door) -> None:
    handle = bound.register()
    assert bound.status(Command.SIGN, signing(*[handle] * MAX_KEY_HANDLES)) is CommandStatus.OK
    assert bound.status(Command.SIGN, signing(*[handle] * (MAX_KEY_HANDLES + 1))) is CommandStatus.PARAMS_INVALID


def test_there_are_no_settings(bound: Door) -> None:
    assert bound.status(Command.OPEN_SETTINGS, WHOLE[Command.OPEN_SETTINGS]) is CommandStatus.CMD_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"", "0036 0600 0828 0200 0800"),
        (b"\x01", "0136 0600 0828 0200 0800"),
        (b"\x01\x34", "0136 0600 0828 0200 0800"),
        (b"\x01\x34\x01\x00", "0136 0600 0828 0200 0800"),
        (b"\x01\x34\x00\x00\x00", "0136 0600 0828 0200 0800"),
        (b"\x01\x34\x00\x00" * 2, "0136 0600 0828 0200 0800"),
        (b"\x05\x34\x00\x00", "0536 0600 0828 0200 0600"),
        (b"\x01\x36\x00\x00", "0136 0600 0828 0200 0600"),
        (b"\x01\x34\x00\x00" + bytes(MAX_COMMAND_BYTES), "0136 0600 0828 0200 0800"),
    ],
)
def test_what_is_no_command_is_answered_all_the_same(bound: Door, command: bytes, answer: str) -> None:
    assert bound.processor.process(command)[1] == bytes.fromhex(answer)


def test_a_row_changed_from_outside_is_refused(roaming: Door, state: AuthenticatorState) -> None:
    key_id = roaming.register()
    with state.writing() as database:
        database.execute("UPDATE registration SET username = 'eve' WHERE key_id = ?", (key_id,))
    assert roaming.status(Command.SIGN, signing(key_id)) is CommandStatus.ACCESS_DENIED


ELEMENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([*map(int, T), *map(int, Tag)]), st.binary(max_size=40)),
        st.sampled_from([*registration(), *signing(b"h"), *deregistering(b"")]),
    ),
    max_size=10,
)


@given(
    st.one_of(
        st.binary(max_size=80), st.builds(lambda c, e: element(c, sequence(*e)), st.sampled_from(Command), ELEMENTS)
    )
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_bytes_raise_anything(elsewhere: Door, command: bytes) -> None:
    status, answer = elsewhere.processor.process(command)
    (outer,) = parse(answer)
    assert isinstance(status, CommandStatus)
    assert not isinstance(outer.value, bytes)
    assert outer.value[0] == (T.STATUS_CODE, struct.pack("<H", status))


def test_a_spent_token_verifies_nobody() -> None:
    tokens = UserVerifyTokens()
    token = tokens.issue(UserVerification.PASSCODE)
    assert tokens.verification(token) is UserVerification.PASSCODE
    tokens.spend()
    with pytest.raises(AuthenticatorError):
        tokens.verification(token)
