"""The UAF client API as an application sees it: JSON in, JSON out, over authenticators in a real token."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.errors import AsmError
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import AutoApprove, Prompt
from fidoloop.bridge.errors import ClientFailureError
from fidoloop.bridge.uaf_client import UafClient
from fidoloop.bridge.uaf_client_api import UafClientApi
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf import final_challenge
from fidoloop.protocol.uaf.assertions import parse_registration_assertion
from fidoloop.protocol.uaf.messages import V1_0, V1_1, Version
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME
from fidoloop.protocol.uaf.status import CLIENT_ERROR_OF_ASM_STATUS, AsmStatus, ClientError
from fidoloop.protocol.uaf.version_negotiation import VersionPair, negotiate
from tests.bridge.test_uaf_client import (
    CHALLENGE,
    FACET,
    FIRST,
    PLACES,
    SECOND,
    FakeAsm,
    aaid,
    client,
    facts,
    message,
    no_fetch,
    policy,
    with_extension,
)

SILENT = "F10B#0113"
Json = Any


@pytest.fixture(scope="module")
def store(fidoloop_token: str) -> Iterator[KeyStore]:
    with open_key_store(fidoloop_token) as opened:
        yield opened


@pytest.fixture
def asm(store: KeyStore, tmp_path: Path) -> Iterator[Asm]:
    state = AuthenticatorState(tmp_path / "phone.sqlite", store)
    yield Asm(store, state, AutoApprove(), caller_id=FACET)
    state.close()


def api_of(asm: Asm, facet_id: str = FACET) -> UafClientApi:
    return UafClientApi(UafClient(asm, facet_id=facet_id, fetch=no_fetch), asm)


@pytest.fixture
def api(asm: Asm) -> UafClientApi:
    return api_of(asm)


def uaf(*messages: Json) -> str:
    return json.dumps({"uafProtocolMessage": json.dumps(messages)})


def silent(op: str = "Reg", **changed: Json) -> dict[str, Json]:
    return message(op, **({"policy": policy([aaid(SILENT)])} | changed))


def answer(api: UafClientApi, text: str, channel_binding: str | None = None) -> tuple[ClientError, Json]:
    parsed = json.loads(api.process_uaf_operation(text, channel_binding))
    response = json.loads(parsed["message"]["uafProtocolMessage"]) if "message" in parsed else None
    return ClientError(parsed["errorCode"]), response


def error_of(api: UafClientApi, *messages: Json) -> ClientError:
    error, response = answer(api, uaf(*messages))
    assert (error is ClientError.NO_ERROR) == (response is not None)
    return error


def registered(api: UafClientApi) -> str:
    """Register; return the response as the UAFMessage the application would send on."""
    parsed = json.loads(api.process_uaf_operation(uaf(silent())))
    assert parsed["errorCode"] == ClientError.NO_ERROR
    return json.dumps(parsed["message"])


def key_ids(asm: Asm) -> list[bytes]:
    return asm.get_registrations(SILENT, FACET)


def test_discovery_tells_versions_and_authenticators_and_nothing_of_users(api: UafClientApi, asm: Asm) -> None:
    before = api.discover()
    registered(api)
    assert api.discover() == before
    data = json.loads(before)
    versions = [{"major": 1, "minor": 1}, {"major": 1, "minor": 0}]
    assert (data["supportedUAFVersions"], data["clientVendor"]) == (versions, "fidoloop")
    assert set(data["clientVersion"]) == {"major", "minor"}
    assert [one["aaid"] for one in data["availableAuthenticators"]] == list(asm.authenticators)
    for one in data["availableAuthenticators"]:
        assert one["supportedUAFVersions"] == versions
        assert not one.keys() & {"authenticatorIndex", "asmVersions", "isUserEnrolled", "hasSettings"}


def test_registering_authenticating_and_deregistering(api: UafClientApi, asm: Asm) -> None:
    error, (response,) = answer(api, uaf(silent()))
    assert error is ClientError.NO_ERROR
    raw = base64url.decode(response["assertions"][0]["assertion"])
    assert [parse_registration_assertion(raw).key_id] == key_ids(asm)
    assert error_of(api, silent("Auth")) is ClientError.NO_ERROR
    assert answer(api, uaf(message("Dereg", authenticators=[{"aaid": SILENT, "keyID": ""}]))) == (
        ClientError.NO_ERROR,
        None,
    )
    assert key_ids(asm) == []


def test_a_policy_is_checked_without_asking_anybody(asm: Asm, store: KeyStore) -> None:
    api = api_of(asm)
    assert api.check_policy(uaf(silent())) is ClientError.NO_ERROR
    assert api.check_policy(uaf(silent("Auth"))) is ClientError.NO_SUITABLE_AUTHENTICATOR
    assert api.check_policy(uaf(silent(policy=policy([aaid("ABCD#0001")])))) is ClientError.NO_SUITABLE_AUTHENTICATOR
    assert api.check_policy(uaf(silent(header={"appID": "http://rp.example"}))) is ClientError.UNTRUSTED_FACET_ID
    assert api.check_policy("{}") is ClientError.PROTOCOL_ERROR
    assert key_ids(asm) == []
    registered(api)
    assert api.check_policy(uaf(silent("Auth"))) is ClientError.NO_ERROR


def test_the_channel_binding_is_what_the_application_saw(api: UafClientApi) -> None:
    _, (response,) = answer(api, uaf(silent()), '{"serverEndPoint":"abc"}')
    assert final_challenge.decode(response["fcParams"]).channelBinding.serverEndPoint == "abc"
    assert answer(api, uaf(silent()), '{"serverEndPoint":1}') == (ClientError.PROTOCOL_ERROR, None)


def test_keys_that_the_server_did_not_take_are_deleted(api: UafClientApi, asm: Asm) -> None:
    for code, left in ((1200, 1), (1202, 2), (1498, 2), (1500, 2)):
        assert api.notify_uaf_result(code, registered(api)) is ClientError.NO_ERROR
        assert len(key_ids(asm)) == left


def test_a_key_the_server_does_not_know_is_deleted_and_only_by_that_code(api: UafClientApi, asm: Asm) -> None:
    api.notify_uaf_result(1200, registered(api))
    for code, left in ((1498, 1), (1481, 0)):
        parsed = json.loads(api.process_uaf_operation(uaf(silent("Auth"))))
        api.notify_uaf_result(code, json.dumps(parsed["message"]))
        assert len(key_ids(asm)) == left
    assert api.notify_uaf_result(1481, uaf("never sent")) is ClientError.NO_ERROR
    assert api.notify_uaf_result(1481, "[]") is ClientError.PROTOCOL_ERROR


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"uafProtocolMessage":[]}', '{"uafProtocolMessage":""}', "[" * 9999])
def test_what_is_no_uaf_message_is_a_protocol_error(api: UafClientApi, text: str) -> None:
    assert answer(api, text) == (ClientError.PROTOCOL_ERROR, None)


def test_a_page_without_tls_is_refused(asm: Asm) -> None:
    assert error_of(api_of(asm, "http://rp.example"), silent()) is ClientError.INSECURE_TRANSPORT


def test_conformance_71_76_the_header_comes_back_and_only_fcp_gets_the_app_id(api: UafClientApi) -> None:
    for header in ({}, {"appID": ""}, {"appID": FACET}):
        sent = silent(header=header)
        _, (response,) = answer(api, uaf(sent))
        assert response["header"] == sent["header"]
        assert final_challenge.decode(response["fcParams"]).appID == FACET


@pytest.mark.parametrize("place", PLACES)
def test_conformance_60_61_72_an_extension_that_must_be_understood_fails_anywhere(
    api: UafClientApi, place: str
) -> None:
    assert error_of(api, with_extension(place, must=True)) is ClientError.PROTOCOL_ERROR


@pytest.mark.parametrize("place", ["the first alternative", "disallowed"])
def test_conformance_83_an_ignorable_extension_leaves_its_criteria_as_it_is(place: str) -> None:
    fake: Any = FakeAsm(facts(FIRST))
    request = client(fake).read(json.dumps([with_extension(place, must=False)]))
    client(fake).check(request)
    blocked = message(policy=policy([aaid(FIRST)], disallowed=[aaid(FIRST, exts=EXTENSION)]))
    with pytest.raises(ClientFailureError):
        client(fake).check(client(fake).read(json.dumps([blocked])))


EXTENSION = [{"id": "nobody.knows", "data": "", "fail_if_unknown": False}]


def test_conformance_141_an_aaid_that_is_no_list_is_a_protocol_error(api: UafClientApi) -> None:
    assert error_of(api, silent(policy={"accepted": [[{"aaid": SILENT}]]})) is ClientError.PROTOCOL_ERROR


def test_conformance_27_a_version_not_spoken_is_unsupported(api: UafClientApi) -> None:
    unknown = {"upv": {"major": 2, "minor": 0}}
    assert error_of(api, silent(header=unknown)) is ClientError.UNSUPPORTED_VERSION


def test_conformance_110_deregistering_an_unknown_aaid_succeeds_silently(api: UafClientApi, asm: Asm) -> None:
    registered(api)
    stranger = message("Dereg", authenticators=[{"aaid": "ABCD#0001", "keyID": ""}])
    assert answer(api, uaf(stranger)) == (ClientError.NO_ERROR, None)
    assert len(key_ids(asm)) == 1


ASM_TO_CLIENT = {
    AsmStatus.OK: ClientError.NO_ERROR,
    AsmStatus.ERROR: ClientError.UNKNOWN,
    AsmStatus.ACCESS_DENIED: ClientError.AUTHENTICATOR_ACCESS_DENIED,
    AsmStatus.USER_CANCELLED: ClientError.USER_CANCELLED,
    AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT: ClientError.INVALID_TRANSACTION_CONTENT,
    AsmStatus.KEY_DISAPPEARED_PERMANENTLY: ClientError.KEY_DISAPPEARED_PERMANENTLY,
    AsmStatus.AUTHENTICATOR_DISCONNECTED: ClientError.NO_SUITABLE_AUTHENTICATOR,
    AsmStatus.USER_NOT_RESPONSIVE: ClientError.USER_NOT_RESPONSIVE,
    AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES: ClientError.INSUFFICIENT_AUTHENTICATOR_RESOURCES,
    AsmStatus.USER_LOCKOUT: ClientError.USER_LOCKOUT,
    AsmStatus.USER_NOT_ENROLLED: ClientError.USER_NOT_ENROLLED,
}


def test_the_table_of_asm_status_and_error_code() -> None:
    assert CLIENT_ERROR_OF_ASM_STATUS == ASM_TO_CLIENT
    assert set(ASM_TO_CLIENT) == set(AsmStatus)


class Unwilling(FakeAsm):
    """Authenticators of which some refuse to register, each with a status of its own."""

    def __init__(self, *held: Any, statuses: dict[str, AsmStatus]) -> None:  # noqa: ANN401
        super().__init__(*held)
        self.statuses = statuses

    def _ask(self, *asked: str) -> None:
        self.asked.append(asked)
        if asked[0] != "deregister" and asked[1] in self.statuses:
            raise AsmError(self.statuses[asked[1]], "no")


BOTH = policy([aaid(FIRST)], [aaid(SECOND)])


@pytest.mark.parametrize("op", ["Reg", "Auth"])
@pytest.mark.parametrize("status", list(AsmStatus)[1:], ids=lambda status: status.name)
def test_others_are_tried_where_an_authenticator_is_full_or_gone_and_nowhere_else(op: str, status: AsmStatus) -> None:
    asm: Any = Unwilling(facts(FIRST, b"1" * 32), facts(SECOND, b"2" * 32), statuses={FIRST: status})
    uaf_client = client(asm)
    request: Any = uaf_client.read(json.dumps([message(op, policy=BOTH)]))
    run = uaf_client.register if op == "Reg" else uaf_client.authenticate
    if status in {AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES, AsmStatus.AUTHENTICATOR_DISCONNECTED}:
        outcome: Any = run(request)
        assert [name for name, _ in outcome.keys] == [SECOND]
        asm.statuses[SECOND] = status
    with pytest.raises(ClientFailureError) as failure:
        run(request)
    assert (failure.value.error, failure.value.asm_status) == (ASM_TO_CLIENT[status], status)


def test_the_first_common_attestation_type_of_the_policy_is_asked_for() -> None:
    both = facts(FIRST)
    wanted = {"authenticationAlgorithms": [1], "assertionSchemes": [ASSERTION_SCHEME]}
    for types, asked in (([15880, 15879], 15880), ([15881, 15879, 15880], 15879)):
        asm: Any = FakeAsm(both)
        asm.authenticators[FIRST] = type(both)(
            **{name: getattr(both, name) for name in both.__struct_fields__ if name != "attestation_types"},
            attestation_types=frozenset({15879, 15880}),
        )
        request: Any = client().read(json.dumps([message(policy=policy([wanted | {"attestationTypes": types}]))]))
        client(asm).register(request)
        assert asm.asked == [("register", FIRST, "alice", str(asked))]


HEADER = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR"
SIZES = (320).to_bytes(4) + (200).to_bytes(4)
PALETTE = (6).to_bytes(4) + b"PLTE" + bytes([1, 2, 3, 4, 5, 6]) + bytes(4)
PNG = HEADER + SIZES + bytes([8, 3, 0, 0, 0]) + bytes(4) + PALETTE + (0).to_bytes(4) + b"IDAT" + bytes(4)
SAYS = {"width": 320, "height": 200, "bitDepth": 8, "colorType": 3, "compression": 0, "filter": 0, "interlace": 0}
COLOURS = [{"r": 1, "g": 2, "b": 3}, {"r": 4, "g": 5, "b": 6}]


@pytest.mark.parametrize(
    ("png", "says", "error"),
    [
        (PNG, SAYS, None),
        (PNG, SAYS | {"plte": COLOURS}, None),
        *((PNG, SAYS | {name: SAYS[name] + 1}, ClientError.INVALID_TRANSACTION_CONTENT) for name in SAYS),
        (PNG, SAYS | {"plte": COLOURS[:1]}, ClientError.INVALID_TRANSACTION_CONTENT),
        (PNG.replace(b"PLTE", b"tEXt"), SAYS | {"plte": COLOURS}, ClientError.INVALID_TRANSACTION_CONTENT),
        (PNG[:45], SAYS | {"plte": COLOURS}, ClientError.INVALID_TRANSACTION_CONTENT),
        (PNG[:28], SAYS, ClientError.INVALID_TRANSACTION_CONTENT),
        (PNG.replace(b"IHDR", b"JHDR"), SAYS, ClientError.INVALID_TRANSACTION_CONTENT),
        (b"GIF89a", SAYS, ClientError.INVALID_TRANSACTION_CONTENT),
        (PNG, None, ClientError.PROTOCOL_ERROR),
    ],
    ids=range(16),
)
def test_an_image_is_what_its_display_characteristics_say(png: bytes, says: Json, error: ClientError | None) -> None:
    sent = {"contentType": "image/png", "content": base64url.encode(png)}
    if says is not None:
        sent["tcDisplayPNGCharacteristics"] = says
    fake: Any = FakeAsm(facts(FIRST, bytes(32)))
    request: Any = client().read(json.dumps([message("Auth", transaction=[sent])]))
    if error is None:
        client(fake).authenticate(request)
        assert len(fake.asked) == 1
        return
    with pytest.raises(ClientFailureError) as failure:
        client(fake).authenticate(request)
    assert failure.value.error is error
    assert fake.asked == []


def test_the_user_chooses_between_accounts_through_the_api(store: KeyStore, tmp_path: Path) -> None:
    state = AuthenticatorState(tmp_path / "phone.sqlite", store)
    asm = Asm(store, state, Prompt(lambda _: True, lambda names: names.index("ann")), caller_id=FACET)
    api = api_of(asm)
    accepted = policy([aaid("F10B#0112")])
    for username in ("ann", "jeff"):
        assert error_of(api, message(policy=accepted, username=username)) is ClientError.NO_ERROR
    assert error_of(api, message("Auth", policy=accepted)) is ClientError.NO_ERROR
    counters = {entry.username: entry.sign_ceiling for entry in asm.registrations()}
    assert counters["ann"] > 0
    assert counters["jeff"] == 0
    state.close()


V1_2 = Version(1, 2)


@pytest.mark.parametrize(
    ("offered", "asm_versions", "pairs", "chosen"),
    [
        ([V1_0, V1_1], [V1_0, V1_1], [(V1_1, V1_1), (V1_0, V1_0)], (V1_1, V1_1)),
        ([V1_1, V1_0], [V1_0], [(V1_1, V1_1), (V1_0, V1_0)], (V1_0, V1_0)),
        ([V1_0], [V1_0, V1_1], [(V1_1, V1_1), (V1_0, V1_0)], (V1_0, V1_0)),
        ([V1_0], [V1_0, V1_1], [(V1_0, V1_0), (V1_0, V1_1)], (V1_0, V1_1)),
        ([V1_0, V1_1], [V1_0, V1_1], [(V1_0, V1_1), (V1_1, V1_0)], (V1_1, V1_0)),
        ([V1_2], [V1_0, V1_1], [(V1_1, V1_1), (V1_0, V1_0)], None),
        ([V1_1], [V1_0], [(V1_1, V1_1), (V1_0, V1_0)], None),
        ([], [V1_1], [(V1_1, V1_1)], None),
    ],
)
def test_the_highest_protocol_version_counts_then_the_highest_of_the_asm(
    offered: list[Version], asm_versions: list[Version], pairs: list[tuple[Version, Version]], chosen: Json
) -> None:
    assert negotiate(offered, asm_versions, [VersionPair(*pair) for pair in pairs]) == chosen


def test_the_challenge_comes_back(api: UafClientApi) -> None:
    _, (response,) = answer(api, uaf(silent()))
    assert final_challenge.decode(response["fcParams"]).challenge == CHALLENGE
