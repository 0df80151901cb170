"""The UAF client over an ASM of the test's own: versions, extensions, policy, and what comes back."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec import UNSET, UnsetType

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.errors import AsmError
from fidoloop.bridge.errors import ClientFailureError
from fidoloop.bridge.http import Answer
from fidoloop.bridge.uaf_client import UafClient
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf import assertions, final_challenge
from fidoloop.protocol.uaf.messages import (
    AuthenticationRequest,
    DeregistrationRequest,
    RegistrationRequest,
    Transaction,
    encode_message,
)
from fidoloop.protocol.uaf.policy import AuthenticatorFacts
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, Algorithm, AttestationType, AuthenticationMode
from fidoloop.protocol.uaf.status import AsmStatus, ClientError

FACET = "android:apk-key-hash:lab"
CHALLENGE = base64url.encode(bytes(64))
FIRST, SECOND, THIRD = "F10B#0111", "F10B#0121", "F10B#0191"


def facts(aaid: str, *key_ids: bytes, attestation: AttestationType = AttestationType.BASIC_FULL) -> AuthenticatorFacts:
    return AuthenticatorFacts(
        aaid=aaid,
        key_ids=frozenset(base64url.encode(key_id) for key_id in key_ids),
        user_verification=4,
        key_protection=1,
        matcher_protection=1,
        attachment_hint=1,
        tc_display=1,
        algorithms=frozenset((1,)),
        assertion_schemes=frozenset((ASSERTION_SCHEME,)),
        attestation_types=frozenset((int(attestation),)),
        version=1,
    )


class FakeAsm:
    """Authenticators by AAID, in order, and the keys each holds; remembers what it was asked."""

    def __init__(self, *held: AuthenticatorFacts, failing: str | None = None) -> None:
        self.authenticators = {entry.aaid: entry for entry in held}
        self.failing = failing
        self.asked: list[tuple[str, ...]] = []
        self.transactions: Sequence[Transaction] = ()
        self.app_ids: set[str] = set()

    def get_info(self, app_id: str) -> list[AuthenticatorFacts]:
        self.app_ids.add(app_id)
        return list(self.authenticators.values())

    def is_roaming(self, aaid: str) -> bool:
        return False

    def images(self, aaid: str) -> UnsetType:
        return UNSET

    def wants_handles(self, aaid: str) -> bool:
        return False

    def register(
        self, aaid: str, *, app_id: str, username: str, final_challenge: str, attestation_type: int
    ) -> tuple[bytes, bytes]:
        self._ask("register", aaid, username, str(attestation_type))
        return f"new key of {aaid}".encode().ljust(32), b"assertion of " + aaid.encode()

    def authenticate(
        self,
        aaid: str,
        *,
        app_id: str,
        final_challenge: str,
        key_ids: Sequence[bytes],
        transactions: Sequence[Transaction],
    ) -> bytes:
        self._ask("authenticate", aaid, *(base64url.encode(key_id) for key_id in key_ids))
        self.transactions = transactions
        signed = assertions.encode_signed_data(
            aaid=aaid,
            authenticator_version=1,
            authentication_mode=AuthenticationMode.USER_VERIFIED,
            signature_algorithm=Algorithm.SECP256R1_ECDSA_SHA256_RAW,
            nonce=bytes(16),
            final_challenge_hash=bytes(32),
            transaction_content_hash=b"",
            key_id=key_ids[-1],
            sign_counter=1,
        )
        return assertions.encode_authentication_assertion(signed, bytes(64))

    def deregister(self, aaid: str, *, app_id: str, key_id: bytes | None) -> list[bytes]:
        self._ask("deregister", aaid, "all" if key_id is None else base64url.encode(key_id))
        held = [base64url.decode(text) for text in sorted(self.authenticators[aaid].key_ids)]
        return [key for key in held if key_id in (None, key)]

    def _ask(self, *asked: str) -> None:
        if self.failing == asked[1]:
            raise AsmError(AsmStatus.USER_CANCELLED, "no")
        self.asked.append(asked)


def no_fetch(url: str, condition: Mapping[str, str]) -> Answer:
    raise AssertionError(f"fetched {url}")


def client(asm: FakeAsm | None = None) -> UafClient:
    fake = asm or FakeAsm()
    stands_in: Any = fake
    assert not isinstance(fake, Asm)
    return UafClient(stands_in, facet_id=FACET, fetch=no_fetch)


def message(op: str = "Reg", **changed: Any) -> dict[str, Any]:  # noqa: ANN401  # members of a JSON object
    """A request by its JSON; keyword arguments replace members, header members stand in `header`."""
    header = {"upv": {"major": 1, "minor": 1}, "op": op, "serverData": "data", **changed.pop("header", {})}
    body: dict[str, Any] = {"header": header, "challenge": CHALLENGE, "policy": {"accepted": [[{"aaid": [FIRST]}]]}}
    if op == "Reg":
        body["username"] = "alice"
    if op == "Dereg":
        body = {"header": header, "authenticators": [{"aaid": FIRST, "keyID": ""}]}
    return {**body, **changed}


def read(*messages: dict[str, Any]) -> Any:  # noqa: ANN401  # the request of the test's choice
    return client().read(json.dumps(messages))


def failure_of(asm: FakeAsm, request: Any) -> ClientFailureError:  # noqa: ANN401  # any request
    with pytest.raises(ClientFailureError) as failure:
        run(client(asm), request)
    return failure.value


def run(uaf: UafClient, request: Any) -> Any:  # noqa: ANN401  # an Outcome, or the keys deleted
    if isinstance(request, RegistrationRequest):
        return uaf.register(request)
    if isinstance(request, AuthenticationRequest):
        return uaf.authenticate(request)
    assert isinstance(request, DeregistrationRequest)
    return uaf.deregister(request)


def version(minor: int, major: int = 1) -> dict[str, Any]:
    return {"upv": {"major": major, "minor": minor}}


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (2, 1, 0)])
def test_of_several_versions_1_1_is_taken(order: tuple[int, ...]) -> None:
    request = read(*(message(header=version(minor), username=f"user of 1.{minor}") for minor in order))
    assert (request.header.upv.minor, request.username) == (1, "user of 1.1")


def test_1_0_is_spoken_too_where_there_is_no_1_1_and_knows_no_wildcards() -> None:
    asm = FakeAsm(facts(FIRST, bytes(32)))
    request = read(message(header=version(0)), message(header=version(2)))
    outcome = run(client(asm), request)
    assert outcome.response.header.upv.minor == 0
    for named in ({"aaid": FIRST, "keyID": ""}, {"aaid": "", "keyID": ""}):
        with pytest.raises(ClientFailureError) as failure:
            read(message("Dereg", header=version(0), authenticators=[named]))
        assert failure.value.error is ClientError.PROTOCOL_ERROR
    read(message("Dereg", header=version(0), authenticators=[{"aaid": FIRST, "keyID": base64url.encode(bytes(32))}]))


@pytest.mark.parametrize("versions", [[(1, 2)], [(2, 1)], [(2, 0), (1, 2)], [(0, 0)]])
def test_without_1_1_or_1_0_the_version_is_unsupported(versions: list[tuple[int, int]]) -> None:
    with pytest.raises(ClientFailureError) as failure:
        read(*(message(header=version(minor, major)) for major, minor in versions))
    assert failure.value.error is ClientError.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        "[]",
        "[1]",
        "[{}]",
        json.dumps([message(), message()]),
        json.dumps(message()),
        json.dumps([message(op="Nonsense")]),
        json.dumps([message(challenge=1)]),
        json.dumps([message(challenge="short")]),
        json.dumps([message(challenge="*" * 22)]),
        json.dumps([message(challenge=base64url.encode(bytes(7)))]),
        json.dumps([message(challenge=base64url.encode(bytes(65)))]),
        json.dumps([message("Auth", challenge="*" * 22)]),
        json.dumps([message(username="")]),
        json.dumps([message(policy={"accepted": []})]),
        json.dumps([message(policy={"accepted": [[]]})]),
        json.dumps([message(policy={"accepted": [[{"aaid": FIRST}]]})]),
        json.dumps([message(header={"appID": None})]),
        json.dumps([message(header={"exts": [{"id": "x"}]})]),
        "[" * 100_000,
    ],
    ids=range(22),
)
def test_a_malformed_request_is_a_protocol_error(text: str) -> None:
    with pytest.raises(ClientFailureError) as failure:
        client().read(text)
    assert failure.value.error is ClientError.PROTOCOL_ERROR


@pytest.mark.parametrize("challenge", [bytes(8), bytes(64)])
def test_a_challenge_of_8_to_64_bytes_is_taken_padded_or_not(challenge: bytes) -> None:
    for text in (base64url.encode(challenge), base64.urlsafe_b64encode(challenge).decode()):
        assert read(message(challenge=text)).challenge == text


def with_extension(place: str, *, must: bool, op: str = "Reg", name: str = "nobody.knows") -> dict[str, Any]:
    marked = [{"id": name, "data": "", "fail_if_unknown": must}]
    if place == "header":
        return message(op, header={"exts": marked})
    other = {"aaid": ["ABCD#0001"]}
    alternatives = {
        "the first alternative": {"accepted": [[{"aaid": [FIRST], "exts": marked}]]},
        "an alternative not taken": {"accepted": [[{"aaid": [FIRST]}], [{**other, "exts": marked}]]},
        "a set": {"accepted": [[other, {**other, "exts": marked}], [{"aaid": [FIRST]}]]},
        "disallowed": {"accepted": [[{"aaid": [FIRST]}]], "disallowed": [{**other, "exts": marked}]},
    }
    return message(op, policy=alternatives[place])


PLACES = ["header", "the first alternative", "an alternative not taken", "a set", "disallowed"]


@pytest.mark.parametrize("op", ["Reg", "Auth"])
@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_extension_counts_wherever_it_stands(place: str, op: str) -> None:
    asm = FakeAsm(facts(FIRST, bytes(32)))
    failure = failure_of(asm, read(with_extension(place, must=True, op=op)))
    assert failure.error is ClientError.PROTOCOL_ERROR
    assert "nobody.knows" in str(failure)
    assert asm.asked == []
    run(client(asm), read(with_extension(place, must=False, op=op)))
    assert len(asm.asked) == 1


def test_a_deregistration_is_held_to_its_extensions_too() -> None:
    asm = FakeAsm(facts(FIRST))
    assert failure_of(asm, read(with_extension("header", must=True, op="Dereg"))).error is ClientError.PROTOCOL_ERROR
    assert asm.asked == []


def test_the_session_extension_is_known() -> None:
    asm = FakeAsm(facts(FIRST))
    request = read(with_extension("header", must=True, name="ch.nevis.auth.fido.uaf.sessionid"))
    assert run(client(asm), request).response.header.exts == request.header.exts


def policy(*accepted: Sequence[dict[str, Any]], disallowed: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {"accepted": [list(alternative) for alternative in accepted]}
    return found | ({"disallowed": list(disallowed)} if disallowed else {})


def aaid(*names: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # members of MatchCriteria
    return {"aaid": list(names), **more}


ANY = {"authenticationAlgorithms": [1], "assertionSchemes": [ASSERTION_SCHEME]}


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (policy([aaid(FIRST)]), [FIRST]),
        (policy([aaid(FIRST.lower())]), [FIRST]),
        (policy([aaid(SECOND)], [aaid(FIRST)]), [SECOND]),
        (policy([aaid("ABCD#0001")], [aaid(SECOND)], [aaid(FIRST)]), [SECOND]),
        (policy([aaid(THIRD, SECOND, FIRST)]), [FIRST]),
        (policy([ANY]), [FIRST]),
        (policy([ANY], disallowed=[aaid(FIRST)]), [SECOND]),
        (policy([aaid(FIRST)], [ANY], disallowed=[aaid(FIRST, SECOND)]), [THIRD]),
        (policy([{**ANY, "attestationTypes": [15880]}]), [THIRD]),
        (policy([{**ANY, "attestationTypes": [15880, 15879]}]), [FIRST]),
        (policy([ANY, ANY]), [FIRST, SECOND]),
        (policy([ANY, aaid(FIRST)]), [SECOND, FIRST]),
        (policy([ANY, ANY, ANY]), [FIRST, SECOND, THIRD]),
        (policy([ANY, ANY, ANY, ANY], [aaid(THIRD), aaid(FIRST)]), [THIRD, FIRST]),
        (policy([aaid(FIRST), aaid(FIRST)], [aaid(SECOND)]), [SECOND]),
        (policy([aaid(FIRST), aaid("ABCD#0001")], [aaid(THIRD)]), [THIRD]),
    ],
    ids=range(16),
)
@pytest.mark.parametrize("op", ["Reg", "Auth"])
def test_the_policy_chooses(op: str, wanted: dict[str, Any], chosen: list[str]) -> None:
    """Alternatives in order of preference, one authenticator of its own per criteria, disallowed ones never."""
    surrogate = facts(THIRD, b"3" * 32, attestation=AttestationType.BASIC_SURROGATE)
    asm = FakeAsm(facts(FIRST, b"1" * 32), facts(SECOND, b"2" * 32), surrogate)
    outcome = run(client(asm), read(message(op, policy=wanted)))
    assert [asked[1] for asked in asm.asked] == chosen
    assert [name for name, _ in outcome.keys] == chosen
    assert len(outcome.response.assertions) == len(chosen)


@pytest.mark.parametrize(
    "wanted",
    [
        policy([aaid("ABCD#0001")]),
        policy([ANY], disallowed=[ANY]),
        policy([aaid(FIRST), aaid(FIRST)]),
        policy([ANY, ANY, ANY]),
        policy([aaid(FIRST, authenticatorVersion=2)]),
        policy([aaid(FIRST, keyIDs=[base64url.encode(b"x" * 32)])]),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("op", ["Reg", "Auth"])
def test_a_policy_that_nothing_here_meets(op: str, wanted: dict[str, Any]) -> None:
    asm = FakeAsm(facts(FIRST, b"1" * 32), facts(SECOND, b"2" * 32))
    failure = failure_of(asm, read(message(op, policy=wanted)))
    assert failure.error is ClientError.NO_SUITABLE_AUTHENTICATOR
    assert FIRST in str(failure)
    assert asm.asked == []


def test_registering_names_one_attestation_type_and_the_user() -> None:
    asm = FakeAsm(facts(FIRST))
    outcome = run(client(asm), read(message(policy=policy([{**ANY, "attestationTypes": [15880, 15879]}]))))
    assert asm.asked == [("register", FIRST, "alice", str(int(AttestationType.BASIC_FULL)))]
    (assertion,) = outcome.response.assertions
    assert (assertion.assertionScheme, base64url.decode(assertion.assertion)) == (
        ASSERTION_SCHEME,
        b"assertion of " + FIRST.encode(),
    )


def test_authenticating_uses_what_holds_a_key_not_what_comes_first() -> None:
    asm = FakeAsm(facts(FIRST), facts(SECOND, b"2" * 32))
    outcome = run(client(asm), read(message("Auth", policy=policy([aaid(FIRST)], [aaid(SECOND)]))))
    assert outcome.keys == ((SECOND, base64url.encode(b"2" * 32)),)


def test_step_up_uses_the_keys_that_are_named() -> None:
    held = [bytes([number]) * 32 for number in range(3)]
    asm = FakeAsm(facts(FIRST, *held))
    named = [base64url.encode(key_id) for key_id in (held[1], held[2], b"x" * 32)]
    run(client(asm), read(message("Auth", policy=policy([aaid(FIRST, keyIDs=named)]))))
    assert asm.asked == [("authenticate", FIRST, *named[:2])]


def test_of_several_accounts_the_key_that_signed_is_the_one_reported() -> None:
    held = [bytes([number]) * 32 for number in range(3)]
    asm = FakeAsm(facts(FIRST, *held))
    outcome = run(client(asm), read(message("Auth")))
    assert len(asm.asked[0]) == 5
    assert outcome.keys == ((FIRST, base64url.encode(held[2])),)


def test_the_transaction_is_passed_on() -> None:
    asm = FakeAsm(facts(FIRST, bytes(32)))
    sent = [{"contentType": "text/plain", "content": base64url.encode(b"Pay 5")}]
    run(client(asm), read(message("Auth", transaction=sent)))
    assert [(one.contentType, one.content) for one in asm.transactions] == [tuple(sent[0].values())]


HEADERS: list[dict[str, Any]] = [
    {},
    {"appID": FACET},
    {"appID": ""},
    {"appID": FACET, "exts": [{"id": "x", "data": "y", "fail_if_unknown": False}]},
]


@pytest.mark.parametrize("header", HEADERS, ids=["absent", "given", "empty", "extensions"])
@pytest.mark.parametrize("op", ["Reg", "Auth"])
def test_the_header_comes_back_as_it_was_and_only_fcp_gets_the_app_id(op: str, header: dict[str, Any]) -> None:
    asm = FakeAsm(facts(FIRST, bytes(32)))
    request = read(message(op, header=header))
    outcome = run(client(asm), request)
    (sent,) = json.loads(encode_message(outcome.response))
    assert sent["header"] == message(op, header=header)["header"]
    params = final_challenge.decode(outcome.response.fcParams)
    assert (params.appID, params.facetID, params.challenge) == (FACET, FACET, CHALLENGE)
    assert (outcome.app_id, asm.app_ids) == (FACET, {FACET})


@pytest.mark.parametrize("op", ["Reg", "Auth", "Dereg"])
def test_a_facet_that_may_not_use_the_app_id_does_nothing(op: str) -> None:
    asm = FakeAsm(facts(FIRST, bytes(32)))
    failure = failure_of(asm, read(message(op, header={"appID": "http://rp.example"})))
    assert failure.error is ClientError.UNTRUSTED_FACET_ID
    assert asm.asked == []


@pytest.mark.parametrize("op", ["Reg", "Auth"])
def test_the_asms_refusal_becomes_the_clients(op: str) -> None:
    failure = failure_of(FakeAsm(facts(FIRST, bytes(32)), failing=FIRST), read(message(op)))
    assert (failure.error, failure.asm_status) == (ClientError.USER_CANCELLED, AsmStatus.USER_CANCELLED)


def test_when_the_second_of_two_fails_the_first_ones_key_goes() -> None:
    asm = FakeAsm(facts(FIRST), facts(SECOND), failing=SECOND)
    failure_of(asm, read(message(policy=policy([aaid(FIRST), aaid(SECOND)]))))
    made = base64url.encode(f"new key of {FIRST}".encode().ljust(32))
    assert [asked[:2] for asked in asm.asked] == [("register", FIRST), ("deregister", FIRST)]
    assert asm.asked[1][2] == made


def test_a_failure_is_told_without_assertions() -> None:
    for op in ("Reg", "Auth"):
        request = read(message(op))
        response = client().failed_response(request)
        assert (response.header, response.assertions) == (request.header, ())
        assert final_challenge.decode(response.fcParams).challenge == CHALLENGE


KEYS = [base64url.encode(bytes([number]) * 32) for number in range(3)]


@pytest.mark.parametrize(
    ("named", "deleted"),
    [
        ([(FIRST, KEYS[0])], [(FIRST, KEYS[0])]),
        ([(FIRST.lower(), KEYS[0])], [(FIRST, KEYS[0])]),
        ([(FIRST, KEYS[0]), (SECOND, KEYS[2])], [(FIRST, KEYS[0]), (SECOND, KEYS[2])]),
        ([(FIRST, KEYS[2])], []),
        ([("ABCD#0001", KEYS[0])], []),
        ([("ABCD#0001", "")], []),
        ([(FIRST, "")], [(FIRST, KEYS[0]), (FIRST, KEYS[1])]),
        ([("", "")], [(FIRST, KEYS[0]), (FIRST, KEYS[1]), (SECOND, KEYS[2])]),
        ([], []),
    ],
    ids=[
        "one",
        "lower case",
        "two",
        "unknown key",
        "unknown AAID",
        "all of an unknown AAID",
        "all of one",
        "all",
        "none",
    ],
)
def test_deregistration_deletes_what_is_named_and_is_silent_about_the_rest(
    named: list[tuple[str, str]], deleted: list[tuple[str, str]]
) -> None:
    asm = FakeAsm(facts(FIRST, b"\0" * 32, b"\1" * 32), facts(SECOND, b"\2" * 32))
    request = read(message("Dereg", authenticators=[{"aaid": one, "keyID": key} for one, key in named]))
    assert sorted(run(client(asm), request)) == deleted


@pytest.mark.parametrize(
    "named",
    [
        [("", KEYS[0])],
        [("", ""), (FIRST, KEYS[0])],
        [(FIRST, KEYS[0]), ("", "")],
        [(FIRST, ""), (SECOND, KEYS[2])],
        [(SECOND, KEYS[2]), (FIRST, "")],
        [("F10B-0111", KEYS[0])],
        [(FIRST, "not base64url!")],
        [(FIRST, KEYS[0]), (SECOND, "not base64url!")],
    ],
)
def test_a_wildcard_stands_alone_and_deletes_nothing_otherwise(named: list[tuple[str, str]]) -> None:
    asm = FakeAsm(facts(FIRST, b"\0" * 32), facts(SECOND, b"\2" * 32))
    with pytest.raises(ClientFailureError) as failure:
        run(client(asm), read(message("Dereg", authenticators=[{"aaid": one, "keyID": key} for one, key in named])))
    assert failure.value.error is ClientError.PROTOCOL_ERROR
    assert asm.asked == []
