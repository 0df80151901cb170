import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.verification_input import MAX_INPUT_BYTES, parse_verification_input
from fidoloop.protocol.uaf.verify_authentication_response import StoredKey

from ..builders import AUTHENTICATION, message, root, seed_request_body, to_der, vectors

TEXT = message(AUTHENTICATION)
RESPONSE = json.loads(TEXT)
RECORD = {"aaid": "f10b#0113", "keyID": "a2V5", "publicKey": "AAAA", "sigAlg": 1, "keyAlg": 256}


def parse(value: object) -> Any:  # noqa: ANN401 - every test looks at another part
    return parse_verification_input(json.dumps(value).encode())


@pytest.mark.parametrize(
    "value",
    [RESPONSE, {"response": RESPONSE}, {"response": TEXT}, {"uafResponse": TEXT}, [{"response": RESPONSE}]],
    ids=["bare", "array", "text", "body as sent", "list of one"],
)
def test_a_response_is_found_in_every_wrapping(value: object) -> None:
    found = parse(value)
    assert found.response.header.op == "Auth"
    assert (found.keys, found.roots, found.transactions, found.at, found.fc_params_known) == (
        None,
        None,
        None,
        None,
        True,
    )


@pytest.mark.parametrize("name", vectors())
def test_the_published_examples_are_read_as_they_stand(name: str) -> None:
    example = vectors()[name]
    found = parse(example)
    assert found.fc_params_known is example["fcParamsPublished"]
    assert (found.keys is None) is ("registrations" not in example)


def test_the_seeds_request_body_is_read() -> None:
    assert parse(seed_request_body("002")).response.header.appID == "appID"


def test_everything_given_is_taken() -> None:
    found = parse(
        {
            "response": RESPONSE,
            "registrations": [RECORD, {**RECORD, "keyID": "a2V5Mg==", "signCounter": 7}],
            "roots": [base64.b64encode(to_der(root())).decode()],
            "transactions": ["UGF5", "UGF5IG1vcmU="],
            "at": "2026-01-01T00:00:00Z",
            "fcParamsPublished": False,
        }
    )
    key = StoredKey(
        owner="",
        aaid="F10B#0113",
        key_id="a2V5",
        public_key=b"\0\0\0",
        public_key_format=256,
        signature_algorithm=1,
        sign_counter=0,
    )
    assert found.keys["F10B#0113", "a2V5"] == key
    assert found.keys["F10B#0113", "a2V5Mg"].sign_counter == 7
    assert found.roots == (root(),)
    assert found.transactions == (b"Pay", b"Pay more")
    assert found.at == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.fc_params_known is False


def test_given_and_empty_is_not_absent() -> None:
    found = parse({"response": RESPONSE, "registrations": [], "roots": [], "transactions": []})
    assert (found.keys, found.roots, found.transactions) == ({}, (), ())


@pytest.mark.parametrize(
    ("at", "meant"),
    [
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T12:30:00", datetime(2026, 1, 1, 12, 30, tzinfo=UTC)),
        ("2026-01-01T12:30:00Z", datetime(2026, 1, 1, 12, 30, tzinfo=UTC)),
        ("2026-01-01T12:30:00+02:00", datetime(2026, 1, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))),
        (1767225600, datetime(2026, 1, 1, tzinfo=UTC)),
        (1767225600.5, datetime(2026, 1, 1, 0, 0, 0, 500000, tzinfo=UTC)),
        (1767225600000, datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_iso_8601_or_a_number(at: object, meant: datetime) -> None:
    assert parse({"response": RESPONSE, "at": at}).at == meant


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"at": "yesterday"}, "$.at"),
        ({"at": 10**40}, "$.at"),
        ({"at": True}, "$.at"),
        ({"at": None}, "$.at"),
        ({"roots": ["*"]}, "$.roots[0]"),
        ({"roots": ["AAAA"]}, "$.roots[0]"),
        ({"roots": ["é"]}, "$.roots[0]"),
        ({"roots": None}, "$.roots"),
        ({"transactions": ["*"]}, "$.transactions[0]"),
        ({"registrations": {}}, "$.registrations"),
        ({"registrations": [{**RECORD, "keyID": "*"}]}, "$.registrations[0].keyID"),
        ({"registrations": [RECORD, {**RECORD, "publicKey": "A"}]}, "$.registrations[1].publicKey"),
        ({"registrations": [{**RECORD, "signCounter": -1}]}, "$.registrations[0].signCounter"),
        ({"registrations": [{**RECORD, "sigAlg": "1"}]}, "$.registrations[0].sigAlg"),
        ({"response": []}, "$.response"),
        ({"response": "[]"}, "$.response"),
        ({"response": None}, "$.response"),
        ({"response": [{}]}, "$.response[0]"),
    ],
)
def test_malformed_input_says_where(members: dict[str, Any], where: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse({"response": RESPONSE, **members})
    assert caught.value.where == where


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"1",
        b"null",
        b"\xff",
        b"[{}]",
        TEXT.encode() + b" " * MAX_INPUT_BYTES,
        json.dumps([{"response": RESPONSE}] * 2).encode(),
        json.dumps(RESPONSE * 2).encode(),
        json.dumps(TEXT + "x").encode(),
    ],
)
def test_what_holds_no_response_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_verification_input(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["response", "uafResponse", "roots", "at", "registrations"]), inner)
        ),
        max_leaves=6,
    )
)
def test_arbitrary_json_raises_nothing_but_the_typed_error(value: object) -> None:
    with pytest.raises(MalformedError):
        parse_verification_input(json.dumps([value]).encode())
