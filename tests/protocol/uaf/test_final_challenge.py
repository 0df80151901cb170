import base64
import hashlib
import json

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import final_challenge
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.final_challenge import FinalChallengeParams
from fidoloop.protocol.uaf.messages import decode_response

from ..builders import APP_ID, CHALLENGE, FACET, fc_params, vectors

PARAMS = FinalChallengeParams(APP_ID, CHALLENGE, FACET, ChannelBinding(serverEndPoint="AA", cid_pubkey="unused"))


def test_decoding_undoes_encoding() -> None:
    text = final_challenge.encode(PARAMS)
    assert final_challenge.decode(text) == PARAMS
    assert json.loads(base64url.decode(text)) == {
        "appID": APP_ID,
        "challenge": CHALLENGE,
        "facetID": FACET,
        "channelBinding": {"serverEndPoint": "AA", "cid_pubkey": "unused"},
    }


def test_the_string_is_hashed_as_received_padding_included() -> None:
    plain = fc_params(facetID="android:apk-key-hash:ab")
    padded = plain + "=" * (-len(plain) % 4)
    assert padded != plain
    assert final_challenge.decode(padded) == final_challenge.decode(plain)
    assert final_challenge.final_challenge_hash(padded) == hashlib.sha256(padded.encode()).digest()
    assert final_challenge.final_challenge_hash(padded) != final_challenge.final_challenge_hash(plain)


def test_a_real_devices_padded_string_hashes_to_what_it_signed() -> None:
    response = decode_response(json.dumps(vectors()["dds-auth"]["response"]))
    assert response.fcParams.endswith("=")
    signed = parse_authentication_assertion(base64url.decode(response.assertions[0].assertion))
    assert final_challenge.final_challenge_hash(response.fcParams) == signed.final_challenge_hash
    assert final_challenge.decode(response.fcParams).facetID.startswith("android:apk-key-hash:")


@pytest.mark.parametrize(
    "text",
    [
        fc_params(appID=None),
        fc_params(appID=""),
        fc_params(appID="a" * 513),
        fc_params(challenge=None),
        fc_params(challenge=""),
        fc_params(challenge=5),
        fc_params(facetID=None),
        fc_params(facetID=""),
        fc_params(facetID="a" * 513),
        fc_params(channelBinding=None),
        fc_params(channelBinding="x"),
        fc_params(channelBinding={"tlsUnique": 1}),
        fc_params(channelBinding={"cid_pubkey": None}),
        "e30",
        "eyJ",
        "*",
        base64url.encode(b"[]"),
        base64url.encode(b'{"appID":"a","appID":"b"}'),
        base64url.encode(b"\xff"),
        base64.b64encode(b"\xff\xfe\xfd").decode(),
    ],
)
def test_params_of_another_shape_are_malformed(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        final_challenge.decode(text)
    assert caught.value.where.startswith("$.fcParams")
