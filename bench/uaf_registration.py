"""uaf-verify-full-attestation: a registration response verified in-process, its certificate chain of three included.

Against the three signature verifications that it takes: the attestation's, the leaf's and the intermediate's. Every
registration has a leaf of its own, so that nothing of it is remembered; the intermediate is, as in a server that runs.
uaf-verify-full-attestation-batch is the same with one leaf for all, as UAF wants it of a hundred thousand devices.
"""

import base64
import gc
import itertools
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.measure import Row, side_by_side
from fidoloop.bridge.load.phone import ALGORITHM, KEY_FORMAT, SOFTWARE_AAID, SimulatedPhone, software_statement
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf import assertions, final_challenge
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.messages import V1_1, AuthenticatorAssertion, OperationHeader, UafResponse
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.public_keys import encode_public_key
from fidoloop.protocol.uaf.registry import AttestationType
from fidoloop.protocol.uaf.verify_registration_response import verify_registration_response

APP_ID = "https://localhost/nevisfido/uaf/1.1/facets"
AT = datetime(2026, 1, 1, tzinfo=UTC)
# More than certificates are kept.
LEAVES = 1500
SHA256 = ec.ECDSA(hashes.SHA256())


def run() -> list[Row]:
    """Measure everything from the response's header to the policy, as the server calls it."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    root = _certificate("root", keys[0], "root", keys[0], ca=True)
    middle = _certificate("middle", keys[1], "root", keys[0], ca=True)
    leaves = [_certificate("leaf", keys[2], "middle", keys[1], ca=False) for _ in range(LEAVES)]
    attesting = SimulatedPhone.in_software(keys[2])
    challenge = base64url.encode(os.urandom(64))
    fc_params = final_challenge.encode(
        final_challenge.FinalChallengeParams(APP_ID, challenge, LAB_FACET_ID, ChannelBinding())
    )
    krd = assertions.encode_krd(
        aaid=SOFTWARE_AAID,
        authenticator_version=1,
        signature_algorithm=ALGORITHM,
        public_key_format=KEY_FORMAT,
        final_challenge_hash=final_challenge.final_challenge_hash(fc_params),
        key_id=os.urandom(32),
        sign_counter=0,
        registration_counter=1,
        public_key=encode_public_key(KEY_FORMAT, SimulatedPhone.in_software().public_key),
    )
    own_leaf = itertools.cycle([_response(fc_params, krd, attesting, leaf, middle) for leaf in leaves])
    one_leaf = itertools.repeat(_response(fc_params, krd, attesting, leaves[0], middle))
    model = msgspec.structs.replace(
        software_statement(),
        attestationTypes=(int(AttestationType.BASIC_FULL),),
        attestationRootCertificates=(base64.b64encode(root.public_bytes(Encoding.DER)).decode(),),
    )
    metadata = {SOFTWARE_AAID: parse_metadata(strictjson.encode(model).encode())}.get
    policy = Policy(accepted=((MatchCriteria(userVerification=1023, assertionSchemes=("UAFV1TLV",)),),))
    expected = Expected(app_id=APP_ID, challenge=challenge, trusted_facets=frozenset({LAB_FACET_ID}))

    def verify(responses: Iterator[UafResponse]) -> object:
        return verify_registration_response(
            next(responses),
            expected=expected,
            policy=policy,
            metadata=metadata,
            already_registered=frozenset(),
            at=AT,
        )

    attestation = keys[2].sign(krd, SHA256)
    bare = [
        (keys[2].public_key(), attestation, krd),
        (keys[1].public_key(), leaves[0].signature, leaves[0].tbs_certificate_bytes),
        (keys[0].public_key(), middle.signature, middle.tbs_certificate_bytes),
    ]

    # The collector need not go through what was prepared here: a server has no such heap.
    gc.freeze()

    def floor() -> object:
        for key, signature, data in bare:
            key.verify(signature, data, SHA256)
        return None

    try:
        return [
            side_by_side("uaf-verify-full-attestation", lambda: verify(own_leaf), floor, wanted=0.6),
            side_by_side("uaf-verify-full-attestation-batch", lambda: verify(one_leaf), floor, wanted=0.6),
        ]
    finally:
        gc.unfreeze()


def _response(
    fc_params: str, krd: bytes, attesting: SimulatedPhone, leaf: x509.Certificate, middle: x509.Certificate
) -> UafResponse:
    chain = tuple(one.public_bytes(Encoding.DER) for one in (leaf, middle))
    assertion = assertions.encode_registration_assertion(
        krd, attestation_type=AttestationType.BASIC_FULL, signature=attesting.sign(krd), certificates=chain
    )
    return UafResponse(
        OperationHeader(V1_1, "Reg", appID=APP_ID, serverData="x"),
        fc_params,
        (AuthenticatorAssertion("UAFV1TLV", base64url.encode(assertion)),),
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    return (
        x509.CertificateBuilder(_name(issuer), _name(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(AT - timedelta(days=1))
        .not_valid_after(AT + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(usage, critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
