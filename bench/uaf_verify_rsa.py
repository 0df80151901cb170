"""uaf-verify-rsa: as uaf-verify, with RSASSA-PSS keys of 2048 bits, against bare verification of such a signature."""

import os

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bench.measure import Row, side_by_side
from fidoloop.bridge.load.phone import SOFTWARE_AAID, software_statement
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf import assertions, final_challenge
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.public_keys import encode_public_key
from fidoloop.protocol.uaf.registry import Algorithm, PublicKeyFormat
from fidoloop.protocol.uaf.verify_authentication_response import StoredKey, verify_authentication_assertion

ALGORITHM, KEY_FORMAT = Algorithm.RSASSA_PSS_SHA256_RAW, PublicKeyFormat.RSA_2048_RAW
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


def run() -> list[Row]:
    """Measure parse, all checks and RSA, by the function the server calls, with the stored key loaded."""
    key = rsa.generate_private_key(65537, 2048)
    fc_params = final_challenge.encode(
        final_challenge.FinalChallengeParams("https://localhost", "x" * 86, LAB_FACET_ID, ChannelBinding())
    )
    key_id = os.urandom(32)
    signed = assertions.encode_signed_data(
        aaid=SOFTWARE_AAID,
        authenticator_version=1,
        authentication_mode=1,
        signature_algorithm=ALGORITHM,
        nonce=os.urandom(16),
        final_challenge_hash=final_challenge.final_challenge_hash(fc_params),
        transaction_content_hash=b"",
        key_id=key_id,
        sign_counter=1,
    )
    signature = key.sign(signed, PSS, hashes.SHA256())
    assertion = base64url.encode(assertions.encode_authentication_assertion(signed, signature))
    stored = StoredKey(
        owner="alice",
        aaid=SOFTWARE_AAID,
        key_id=base64url.encode(key_id),
        public_key=encode_public_key(KEY_FORMAT, key.public_key()),
        public_key_format=int(KEY_FORMAT),
        signature_algorithm=int(ALGORITHM),
        sign_counter=0,
    )
    model = msgspec.structs.replace(
        software_statement(), authenticationAlgorithm=int(ALGORITHM), publicKeyAlgAndEncoding=int(KEY_FORMAT)
    )
    metadata = {SOFTWARE_AAID: parse_metadata(strictjson.encode(model).encode())}.get
    policy = Policy(accepted=((MatchCriteria(userVerification=1023, assertionSchemes=("UAFV1TLV",)),),))
    keys = {(stored.aaid, stored.key_id): stored}

    def subject() -> object:
        return verify_authentication_assertion(
            assertions.parse_authentication_assertion(base64url.decode(assertion)),
            fc_params=fc_params,
            expected_owner="alice",
            policy=policy,
            metadata=metadata,
            keys=keys,
            transactions=(),
        )

    public_key = key.public_key()

    def floor() -> object:
        public_key.verify(signature, signed, PSS, hashes.SHA256())
        return None

    return [side_by_side("uaf-verify-rsa", subject, floor, wanted=0.6)]
