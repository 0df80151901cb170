import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import messages as m
from fidoloop.protocol.uaf import tlv
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion

from ..builders import AUTHENTICATION, CHALLENGE, UPV, message, seed_request_body, seed_response_body, vectors

HEADER: dict[str, Any] = {"upv": UPV, "op": "Auth", "appID": "https://a.example/f", "serverData": "c2Q"}
RESPONSE: dict[str, Any] = {
    "header": HEADER,
    "fcParams": "e30",
    "assertions": [{"assertionScheme": "UAFV1TLV", "assertion": "AA"}],
}
POLICY = {"accepted": [[{"userVerification": 1023}]]}
REG: dict[str, Any] = {"header": {**HEADER, "op": "Reg"}, "challenge": CHALLENGE, "username": "jeff", "policy": POLICY}
AUTH: dict[str, Any] = {"header": HEADER, "challenge": CHALLENGE, "policy": POLICY}
DEREG: dict[str, Any] = {
    "header": {"upv": UPV, "op": "Dereg"},
    "authenticators": [{"aaid": "F10B#0113", "keyID": "a2V5"}],
}
ABSENT = object()


def changed(message_: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Returns the message with the member at a dotted path changed or, for ABSENT, left out."""
    copy: Any = json.loads(json.dumps(message_))
    *outer, last = path.split(".")
    target = copy
    for step in outer:
        target = target[int(step) if step.isdigit() else step]
    if value is ABSENT:
        del target[last]
    else:
        target[last] = value
    return dict(copy)


def same_json(left: str, right: str) -> bool:
    return bool(json.loads(left) == json.loads(right))


# The seeds' examples


def test_the_example_authentication_response_decodes_and_encodes_again_byte_for_byte() -> None:
    text = seed_request_body("002")["uafResponse"]
    response = m.decode_response(text)
    assert (response.header.op, response.header.upv, response.header.appID) == ("Auth", m.V1_1, "appID")
    assert same_json(m.encode_message(response), text)
    raw = base64url.decode(response.assertions[0].assertion)
    assert base64url.encode(tlv.encode(tlv.parse(raw))) == response.assertions[0].assertion
    found = parse_authentication_assertion(raw)
    assert (found.aaid, found.key_id, found.signature) == ("ABCD#ABCD", b"keyId", b"signature")
    assert (found.nonce, found.transaction_content_hash) == (b"authenticatorNonce", b"transactionHash")


def test_the_examples_of_the_wrappers_decode() -> None:
    body = seed_request_body("002")
    wrapper = strictjson.decode(json.dumps(body), m.SendUafResponse)
    assert strictjson.loads(str(wrapper.context)) == {"asmStatusCode": 0, "clientErrorCode": 0}
    assert same_json(strictjson.encode(wrapper), json.dumps(body))
    answer = seed_response_body("002")
    assert same_json(strictjson.encode(strictjson.decode(json.dumps(answer), m.ServerResponse)), json.dumps(answer))
    request = strictjson.decode(json.dumps(seed_request_body("001")), m.GetUafRequest)
    assert (request.op, strictjson.loads(request.context)) == ("Reg", {"username": "jeff"})


def test_the_example_registration_request_decodes_and_encodes_again() -> None:
    answer = seed_response_body("001")
    wrapper = strictjson.decode(json.dumps(answer), m.ReturnUafRequest)
    assert same_json(strictjson.encode(wrapper), json.dumps(answer))
    request = m.decode_request(str(wrapper.uafRequest))
    assert isinstance(request, m.RegistrationRequest)
    assert (request.username, len(request.challenge)) == ("jeff", 86)
    assert same_json(m.encode_message(request), str(wrapper.uafRequest))


@pytest.mark.parametrize("name", vectors())
def test_the_published_responses_decode_and_encode_again(name: str) -> None:
    text = json.dumps(vectors()[name]["response"])
    assert same_json(m.encode_message(m.decode_response(text)), text)


# Responses


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("header", ABSENT, "$[0]"),
        ("header", None, "$[0].header"),
        ("header.upv", ABSENT, "$[0].header"),
        ("header.upv", "1.1", "$[0].header.upv"),
        ("header.upv.major", 65536, "$[0].header.upv.major"),
        ("header.upv.minor", -1, "$[0].header.upv.minor"),
        ("header.upv.minor", 1.5, "$[0].header.upv.minor"),
        ("header.op", ABSENT, "$[0].header"),
        ("header.op", "auth", "$[0].header.op"),
        ("header.appID", None, "$[0].header.appID"),
        ("header.appID", "a" * 513, "$[0].header.appID"),
        ("header.serverData", "", "$[0].header.serverData"),
        ("header.serverData", "a" * 1537, "$[0].header.serverData"),
        ("header.exts", None, "$[0].header.exts"),
        ("header.exts", {}, "$[0].header.exts"),
        ("header.exts", [{"id": "", "data": "", "fail_if_unknown": False}], "$[0].header.exts[0].id"),
        ("header.exts", [{"id": "x" * 33, "data": "", "fail_if_unknown": False}], "$[0].header.exts[0].id"),
        ("header.exts", [{"id": "x", "fail_if_unknown": False}], "$[0].header.exts[0]"),
        ("header.exts", [{"id": "x", "data": "", "fail_if_unknown": "false"}], "$[0].header.exts[0].fail_if_unknown"),
        ("header.exts", [{"id": "x", "data": ""}], "$[0].header.exts[0]"),
        ("fcParams", ABSENT, "$[0]"),
        ("fcParams", "", "$[0].fcParams"),
        ("fcParams", {}, "$[0].fcParams"),
        ("fcParams", "A" * 16385, "$[0].fcParams"),
        ("assertions", ABSENT, "$[0]"),
        ("assertions", None, "$[0].assertions"),
        ("assertions", RESPONSE["assertions"] * 9, "$[0].assertions"),
        ("assertions.0.assertion", ABSENT, "$[0].assertions[0]"),
        ("assertions.0.assertion", 1, "$[0].assertions[0].assertion"),
        ("assertions.0.assertion", "A" * 5465, "$[0].assertions[0].assertion"),
        ("assertions.0.assertionScheme", ABSENT, "$[0].assertions[0]"),
        ("assertions.0.exts", None, "$[0].assertions[0].exts"),
        ("assertions.0.tcDisplayPNGCharacteristics", [{}], "$[0].assertions[0].tcDisplayPNGCharacteristics[0]"),
    ],
)
def test_a_response_of_another_shape_is_malformed(path: str, value: object, where: str) -> None:
    with pytest.raises(MalformedError) as caught:
        m.decode_response(json.dumps([changed(RESPONSE, path, value)]))
    assert caught.value.where == where


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", json.dumps(RESPONSE), json.dumps([RESPONSE] * 2), "[null]"])
def test_a_response_is_an_array_of_exactly_one(text: str) -> None:
    with pytest.raises(MalformedError):
        m.decode_response(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("header.appID", ABSENT),
        ("header.appID", ""),
        ("header.appID", "é" * 512),
        ("header.serverData", ABSENT),
        ("header.serverData", "a" * 1536),
        ("header.exts", []),
        ("header.exts", [{"id": "x" * 32, "data": "", "fail_if_unknown": True}]),
        ("header.unknown", {"a": None}),
        ("assertions", []),
        ("assertions", RESPONSE["assertions"] * 8),
        ("unknown", None),
    ],
)
def test_limits_are_inclusive_and_unknown_members_ignored(path: str, value: object) -> None:
    assert m.decode_response(json.dumps([changed(RESPONSE, path, value)])).fcParams == "e30"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["header", "upv", "op", "fcParams", "assertions", "policy", "challenge", "x"]), x
            )
        ),
    )
)
def test_arbitrary_json_raises_nothing_but_the_typed_error(value: object) -> None:
    with pytest.raises(MalformedError):
        m.decode_response(json.dumps([value]))
    with pytest.raises(MalformedError):
        m.decode_request(json.dumps([value]))


def test_a_built_response_decodes() -> None:
    assert m.decode_response(message(AUTHENTICATION)).header.serverData == "c2VydmVy"


# Requests


@pytest.mark.parametrize("request_", [REG, AUTH, DEREG], ids=["Reg", "Auth", "Dereg"])
def test_a_request_decodes_to_its_operation_and_encodes_again(request_: dict[str, Any]) -> None:
    found = m.decode_request(json.dumps([request_]))
    assert found is not None
    assert found.header.op == request_["header"]["op"]
    assert same_json(m.encode_message(found), json.dumps([request_]))


def test_the_version_wanted_first_is_picked() -> None:
    old = changed(DEREG, "header.upv.minor", 0)
    both = json.dumps([old, DEREG])
    v1_0 = m.Version(1, 0)
    for versions, picked in (((m.V1_1,), 1), ((v1_0,), 0), ((v1_0, m.V1_1), 0), ((m.V1_1, v1_0), 1)):
        found = m.decode_request(both, versions)
        assert found is not None
        assert found.header.upv.minor == picked
    assert m.decode_request(both, (m.Version(2, 0),)) is None


@pytest.mark.parametrize(
    ("request_", "path", "value"),
    [
        (REG, "challenge", ABSENT),
        (REG, "challenge", "A" * 10),
        (REG, "challenge", "A" * 89),
        (REG, "challenge", 1),
        (AUTH, "challenge", ""),
        (REG, "username", ABSENT),
        (REG, "username", ""),
        (REG, "username", "u" * 129),
        (REG, "policy", ABSENT),
        (REG, "policy.accepted", []),
        (REG, "policy.accepted.0.0.aaid", "F10B#0113"),
        (AUTH, "transaction", None),
        (AUTH, "transaction", [{"contentType": "text/plain", "content": ""}]),
        (AUTH, "transaction", [{"contentType": "text/plain"}]),
        (AUTH, "transaction", [{"contentType": "image/png", "content": "AA", "tcDisplayPNGCharacteristics": {}}]),
        (DEREG, "authenticators", ABSENT),
        (DEREG, "authenticators", [{"aaid": "F10B#0113"}]),
        (DEREG, "authenticators", [{"aaid": "", "keyID": "a2V5"}]),
        (DEREG, "authenticators", [{"aaid": "F10B0113", "keyID": "a2V5"}]),
        (DEREG, "authenticators", [{"aaid": "F10B#0113", "keyID": "a2V5"}, {"aaid": "", "keyID": ""}]),
        (DEREG, "authenticators", [{"aaid": "F10B#0113", "keyID": ""}, {"aaid": "F10B#0113", "keyID": "a2V5"}]),
        (DEREG, "header.op", "Foo"),
    ],
)
def test_a_request_of_another_shape_is_malformed(request_: dict[str, Any], path: str, value: object) -> None:
    with pytest.raises(MalformedError):
        m.decode_request(json.dumps([changed(request_, path, value)]))


@pytest.mark.parametrize("pair", [("F10B#0113", ""), ("", ""), ("f10b#0113", "a2V5")])
def test_the_wildcards_of_deregistration_are_read(pair: tuple[str, str]) -> None:
    request = changed(DEREG, "authenticators", [{"aaid": pair[0], "keyID": pair[1]}])
    found = m.decode_request(json.dumps([request]))
    assert isinstance(found, m.DeregistrationRequest)
    assert (found.authenticators[0].aaid, found.authenticators[0].keyID) == pair


def test_several_keys_are_deregistered_together() -> None:
    pairs = [{"aaid": "F10B#0113", "keyID": "a2V5"}, {"aaid": "F10B#0114", "keyID": "a2V5"}]
    found = m.decode_request(json.dumps([changed(DEREG, "authenticators", pairs)]))
    assert isinstance(found, m.DeregistrationRequest)
    assert len(found.authenticators) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(REG), json.dumps([REG, REG]), json.dumps([[REG]])])
def test_requests_are_an_array_with_one_message_a_version(text: str) -> None:
    with pytest.raises(MalformedError):
        m.decode_request(text)
