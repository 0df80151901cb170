"""uaf-verify: a UAF authentication assertion verified in-process, against bare ECDSA P-256 verification.

uaf-verify-response is the same with what stands around an assertion: header, fcParams (decoded from base64url and
JSON: appID, facet, challenge, channel binding) and the policy's alternatives.
"""

import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measure import Row, side_by_side
from fidoloop.bridge.load.phone import ALGORITHM, KEY_FORMAT, SOFTWARE_AAID, SimulatedPhone, software_statement
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf import final_challenge
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.messages import (
    V1_1,
    AuthenticatorAssertion,
    OperationHeader,
    UafResponse,
)
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.public_keys import encode_public_key
from fidoloop.protocol.uaf.verify_authentication_response import (
    StoredKey,
    parse_authentication_assertions,
    verify_authentication_assertion,
    verify_authentication_response,
)

APP_ID = "https://localhost/nevisfido/uaf/1.1/facets"


def run() -> list[Row]:
    """Measure parse, all checks and ECDSA, by the functions the server calls, with the stored key loaded."""
    private_key = ec.generate_private_key(ec.SECP256R1())
    phone = SimulatedPhone.in_software(private_key)
    challenge = base64url.encode(os.urandom(64))
    fc_params = final_challenge.encode(
        final_challenge.FinalChallengeParams(APP_ID, challenge, LAB_FACET_ID, ChannelBinding())
    )
    assertion = base64url.encode(phone.authentication(fc_params))
    header = OperationHeader(V1_1, "Auth", appID=APP_ID, serverData=base64url.encode(os.urandom(64)))
    response = UafResponse(header, fc_params, (AuthenticatorAssertion("UAFV1TLV", assertion),))
    key = StoredKey(
        owner="alice",
        aaid=SOFTWARE_AAID,
        key_id=base64url.encode(phone.key_id),
        public_key=encode_public_key(KEY_FORMAT, phone.public_key),
        public_key_format=int(KEY_FORMAT),
        signature_algorithm=int(ALGORITHM),
        sign_counter=0,
    )
    everything = MatchCriteria(
        userVerification=1023, authenticationAlgorithms=tuple(range(1, 10)), assertionSchemes=("UAFV1TLV",)
    )
    policy = Policy(accepted=((everything,),))
    metadata = {SOFTWARE_AAID: parse_metadata(strictjson.encode(software_statement()).encode())}.get
    expected = Expected(app_id=APP_ID, challenge=challenge, trusted_facets=frozenset({LAB_FACET_ID}))
    keys = {(key.aaid, key.key_id): key}

    def one_assertion() -> object:
        return verify_authentication_assertion(
            parse_authentication_assertion(base64url.decode(assertion)),
            fc_params=fc_params,
            expected_owner="alice",
            policy=policy,
            metadata=metadata,
            keys=keys,
            transactions=(),
        )

    def whole_response() -> object:
        return verify_authentication_response(
            response,
            parse_authentication_assertions(response),
            expected=expected,
            expected_owner="alice",
            policy=policy,
            metadata=metadata,
            keys=keys,
            transactions=(),
        )

    data = os.urandom(160)
    algorithm = ec.ECDSA(hashes.SHA256())
    signature = private_key.sign(data, algorithm)
    public_key = phone.public_key

    def floor() -> object:
        public_key.verify(signature, data, algorithm)
        return None

    return [
        side_by_side("uaf-verify", one_assertion, floor, wanted=0.75),
        side_by_side("uaf-verify-response", whole_response, floor),
    ]
