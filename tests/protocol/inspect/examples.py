"""One real example of every kind: recorded, published, or made by the code that sends it."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from fidoloop.protocol import base64url, jose, outofband, qr, strictjson
from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.evidence import cmw
from fidoloop.protocol.evidence.token_claims import TokenClaims, token_claims_evidence
from fidoloop.protocol.evidence.values import Evidence
from fidoloop.protocol.oauth.access_tokens import AccessTokenClaims, KeyConfirmation, make_access_token
from fidoloop.protocol.oauth.client_attestation import PopClaims, make_client_attestation, make_pop
from fidoloop.protocol.oauth.device_evidence import make_device_evidence
from fidoloop.protocol.oauth.dpop import DpopClaims, make_dpop_proof
from fidoloop.protocol.uaf.facets import encode_trusted_facets

from ..builders import AT, fc_params, p256, recorded, seed_request_body, spki, statement, tlv, to_der, vectors
from ..evidence import builders as evidence

WEBAUTHN = json.loads((Path(__file__).parents[2] / "data/vectors/webauthn.json").read_text("utf-8"))
NOW = int(AT.timestamp())
KEY = p256(4)
JWK = jose.public_jwk(KEY.public_key())
PRIVATE_D = base64url.encode(KEY.private_numbers().private_value.to_bytes(32))

# RFC 9449, section 4.2: the example proof.
RFC_9449 = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo"
    "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJ"
    "qdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0Ijo"
    "xNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)

# RFC 8292, section 2.4: the example.
RFC_8292 = (
    "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3Njgs"
    "InN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjv"
    "W2L9OkSSHzvoD1oA, k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
)
UAF_REQUEST = strictjson.encode(
    [
        {
            "header": {"upv": {"major": 1, "minor": 1}, "op": "Auth", "appID": "https://a.example/facets"},
            "challenge": base64url.encode(bytes(range(32))),
            "policy": {"accepted": [[{"userVerification": 4, "keyProtection": 2, "authenticationAlgorithms": [1, 2]}]]},
        }
    ]
)


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def registration(name: str = "packed") -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in WEBAUTHN["registrations"] if one["format"] == name)
    return found


def attestation_object(name: str = "packed") -> bytes:
    return base64url.decode(registration(name)["credential"]["response"]["attestationObject"])


def authenticator_data() -> bytes:
    data = attestation_object()
    at = data.index(b"hauthDataX") + 11
    return data[at : at + data[at - 1]]


def access_token() -> str:
    claims = AccessTokenClaims(
        iss="https://as.example",
        sub="alice",
        aud="https://api.example",
        client_id="app",
        exp=NOW + 300,
        iat=NOW,
        jti="1",
        cnf=KeyConfirmation(JWK.thumbprint),
    )
    return make_access_token(KEY, "k1", claims)


def statement_jwt(typ: str | None, claims: dict[str, Any]) -> str:
    return jose.sign_compact(text(claims), KEY, {} if typ is None else {"typ": typ})


PAYLOAD = outofband.encode_payload({"token": "t", "redeem_url": "https://a.example/redeem"}, None)
ENCRYPTED = outofband.encode_payload({"token": "t", "redeem_url": "https://a.example/redeem"}, JWK)
REGISTERED = vectors()["spec-reg"]["response"]
SENT = strictjson.encode(recorded()["softhsm-p-256-presence-reg"]["response"])
DPOP = make_dpop_proof(KEY, DpopClaims("1", "POST", "https://as.example/token", NOW))
GET_INFO = b"\0" + canonical_cbor.encode({1: ["FIDO_2_0", "FIDO_2_1"], 3: bytes(16), 4: {"rk": True, "up": True}})
MAKE = b"\x01" + canonical_cbor.encode(
    {
        1: bytes(32),
        2: {"id": "a.example", "name": "A"},
        3: {"id": b"u", "name": "alice"},
        4: [{"alg": -7, "type": "public-key"}],
    }
)


SELECT_PIV = "00a4040009a00000030800001000"


CREATION = {
    "challenge": "AAAA",
    "rp": {"id": "a.example", "name": "A"},
    "user": {"id": "AQ", "name": "alice", "displayName": "Alice"},
    "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
}


@cache
def examples() -> dict[str, list[bytes]]:
    """Return examples by the kind that each must be guessed to be."""
    assertion = REGISTERED[0]["assertions"][0]["assertion"]
    signed = next(one for one in WEBAUTHN["assertions"])
    certified = evidence.Certified()
    leaf = to_der(evidence.attested(KEY))
    return {
        "uaf-message": [text(REGISTERED), *(text(one["response"]) for one in recorded().values())],
        "return-uaf-request": [text({"statusCode": 1200, "uafRequest": UAF_REQUEST, "op": "Auth"})],
        "send-uaf-response": [text({"uafResponse": SENT, "context": "{}"}), text(seed_request_body("002"))],
        "get-uaf-request": [text(seed_request_body("001"))],
        "server-response": [text({"statusCode": 1498, "description": '{"message":"no"}'})],
        "dispatch-request": [text({"getUafRequest": {"op": "Auth"}, "dispatcher": "png-qr-code"})],
        "dispatch-response": [text({"dispatchResult": "dispatched", "token": "t", "sessionId": "s"})],
        "status": [text({"status": "failed", "timestamp": "2026-01-01T00:00:00.000Z", "clientErrorCode": 3})],
        "dispatch-targets": [text({"dispatchTargets": [{"name": "phone", "id": "1"}]})],
        "facets": [encode_trusted_facets(("https://a.example", "android:apk-key-hash:x")).encode()],
        "fc-params": [fc_params().encode(), base64url.decode(fc_params(), padding_allowed=True)],
        "assertion": [assertion.encode(), base64url.decode(assertion, padding_allowed=True)],
        "tlv": [tlv(0x2E0B, b"F10B#0112") + tlv(0x2E0F, bytes(8))],
        "payload": [PAYLOAD.encode(), base64url.encode(PAYLOAD.encode()).encode(), ENCRYPTED.encode()],
        "link": [outofband.link("app://open", PAYLOAD).encode()],
        "nma-data": [text({"token": "t", "redeem_url": "https://a.example/r"})],
        "qr": [qr.png(outofband.qr_text(PAYLOAD))],
        "jws": [RFC_9449.encode(), f"DPoP: {RFC_9449}".encode(), *(token.encode() for token in tokens().values())],
        "jwe": [str(json.loads(ENCRYPTED)["nma_data"]).encode()],
        "vapid": [RFC_8292.encode(), f"Authorization: {RFC_8292}".encode()],
        "jwk": [JWK.to_json().encode(), text({"keys": [JWK.members]})],
        "evidence": [cmw.encode(one).encode() for one in evidences()],
        "certificate": [
            leaf,
            leaf.hex().encode(),
            base64.b64encode(leaf),
            evidence.attested(KEY).public_bytes(Encoding.PEM),
            to_der(evidence.ak_certificate()),
            *certificates_of("packed"),
            *certificates_of("tpm"),
            *certificates_of("android-key"),
        ],
        "public-key": [spki(KEY), KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)],
        "private-key": [
            KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            KEY.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        ],
        "tpm-attest": [certified.attest],
        "tpm-public": [certified.public],
        "client-data": [base64url.decode(registration()["credential"]["response"]["clientDataJSON"])],
        "attestation-object": [
            base64url.decode(one["credential"]["response"]["attestationObject"]) for one in WEBAUTHN["registrations"]
        ],
        "authenticator-data": [
            authenticator_data(),
            base64url.decode(signed["credential"]["response"]["authenticatorData"]),
        ],
        "webauthn-options": [
            text({"challenge": registration()["get"]["challenge"], "rpId": "a.example"}),
            text({"publicKey": CREATION}),
        ],
        "credential": [text(registration()["credential"]), text(signed["credential"])],
        "cose-key": [base64url.decode(signed["publicKey"]), canonical_cbor.encode({1: 4, 3: 5, -1: b"k"})],
        "ctap-request": [MAKE, b"\x06" + canonical_cbor.encode({1: 2, 2: 2})],
        "ctap-response": [GET_INFO],
        "cbor": [canonical_cbor.encode({"a": [1, b"b", {"c": True}]})],
        "apdu": [
            bytes.fromhex(one) for one in ("00a4040009a00000030800001000", "0020008008313233343536ffff", "00f79a00")
        ],
        "apdu-answer": [bytes.fromhex(one) for one in ("9000", "63c2", "6982", "0504039000")],
        "metadata": [text(statement()), text(recorded()["softhsm-p-256-presence-reg"]["metadata"][0])],
        "der": [bytes.fromhex("3006020101020102")],
    }


def certificates_of(form: str) -> list[bytes]:
    found = []
    for one in WEBAUTHN["registrations"]:
        if one["format"] == form:
            members: Any = canonical_cbor.decode(base64url.decode(one["credential"]["response"]["attestationObject"]))
            found += [bytes(der) for der in members["attStmt"].get("x5c", ())]
    return found


def evidences() -> list[Evidence]:
    claims = TokenClaims(
        base64url.encode(spki(KEY)), "softhsm", "SoftHSM", "v2", "1", "2.6", True, False, True, True, ("sign",)
    )
    return [
        evidence.piv(),
        evidence.hsm(),
        evidence.Certified().evidence(),
        evidence.pkix(),
        token_claims_evidence(claims, nonce=evidence.NONCE, key=KEY),
    ]


MODEL = {"aaid": "F10B#0112", "metadataStatement": recorded()["softhsm-p-256-presence-reg"]["metadata"][0]}


@cache
def tokens() -> dict[str, str]:
    """Return a JWT of every kind by what it is told to be."""
    return {
        "a DPoP proof (RFC 9449)": DPOP,
        "an access token (RFC 9068)": access_token(),
        "a client attestation": make_client_attestation(
            KEY, {"sub": "app", "exp": NOW + 60, "iat": NOW, "cnf": {"jwk": JWK.members}}, "k1"
        ),
        "a proof of possession of a client attestation": make_pop(KEY, PopClaims("https://as.example", "1", NOW)),
        "device evidence (EAT, RFC 9711)": make_device_evidence(
            KEY,
            evidence.piv(),
            nonce=base64url.encode(evidence.NONCE),
            audience="https://as.example",
            now=NOW,
            token_id="1",
            app_name="app",
        ),
        "a software statement (RFC 7591)": statement_jwt(None, {"iss": "maker", "software_id": "s", "exp": NOW + 60}),
        "a BLOB of the FIDO metadata service": statement_jwt(
            None, {"no": 1, "nextUpdate": "2027-01-01", "legalHeader": "l", "entries": [MODEL]}
        ),
        "a device's signature over a request or a change of its dispatch target": statement_jwt(
            None, {"dispatchTargetId": "1", "requestId": "2", "creationTimeInEpochMillis": NOW * 1000}
        ),
        "a JWS": statement_jwt(None, {"a": 1}),
    }
