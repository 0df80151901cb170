"""A phone with a key in software, so that a measurement is of the server and not of the phone."""

import json
import os
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fidoloop.protocol import base64url
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf import assertions, final_challenge
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.messages import V1_1
from fidoloop.protocol.uaf.metadata import MetadataStatement, VerificationMethod
from fidoloop.protocol.uaf.public_keys import encode_public_key
from fidoloop.protocol.uaf.registry import Algorithm, AttestationType, PublicKeyFormat

AAID = "FFFF#0001"
ALGORITHM = Algorithm.SECP256R1_ECDSA_SHA256_RAW
KEY_FORMAT = PublicKeyFormat.ECC_X962_RAW


def statement() -> MetadataStatement:
    """Metadata of this phone: surrogate attestation, P-256."""
    return MetadataStatement(
        aaid=AAID,
        description="software key for measurements",
        authenticatorVersion=1,
        upv=(V1_1,),
        assertionScheme="UAFV1TLV",
        authenticationAlgorithm=int(ALGORITHM),
        publicKeyAlgAndEncoding=int(KEY_FORMAT),
        attestationTypes=(int(AttestationType.BASIC_SURROGATE),),
        userVerificationDetails=((VerificationMethod(1),),),
        keyProtection=1,
        matcherProtection=1,
        attachmentHint=1,
        isSecondFactorOnly=False,
        tcDisplay=0,
        attestationRootCertificates=(),
    )


@dataclass
class SoftwarePhone:
    """One key and its counter."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    key_id: bytes = field(default_factory=lambda: os.urandom(32))
    counter: int = 0

    def fc_params(self, request: dict[str, object]) -> str:
        """fcParams for a request message."""
        header = request["header"]
        assert isinstance(header, dict)
        return final_challenge.encode(
            final_challenge.FinalChallengeParams(
                header["appID"], str(request["challenge"]), LAB_FACET_ID, ChannelBinding()
            )
        )

    def sign(self, data: bytes) -> bytes:
        """r‖s over `data`."""
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    def registration(self, fc_params: str) -> bytes:
        """A registration assertion."""
        krd = assertions.encode_krd(
            aaid=AAID,
            authenticator_version=1,
            signature_algorithm=ALGORITHM,
            public_key_format=KEY_FORMAT,
            final_challenge_hash=final_challenge.final_challenge_hash(fc_params),
            key_id=self.key_id,
            sign_counter=0,
            registration_counter=1,
            public_key=encode_public_key(KEY_FORMAT, self.key.public_key()),
        )
        return assertions.encode_registration_assertion(
            krd, attestation_type=AttestationType.BASIC_SURROGATE, signature=self.sign(krd)
        )

    def authentication(self, fc_params: str) -> bytes:
        """An authentication assertion with the next counter."""
        self.counter += 1
        signed_data = assertions.encode_signed_data(
            aaid=AAID,
            authenticator_version=1,
            authentication_mode=1,
            signature_algorithm=ALGORITHM,
            nonce=os.urandom(16),
            final_challenge_hash=final_challenge.final_challenge_hash(fc_params),
            transaction_content_hash=b"",
            key_id=self.key_id,
            sign_counter=self.counter,
        )
        return assertions.encode_authentication_assertion(signed_data, self.sign(signed_data))

    def register(self, uaf_request: str) -> bytes:
        """The SendUAFResponse body that answers the uafRequest text of a registration."""
        (request,) = json.loads(uaf_request)
        fc_params = self.fc_params(request)
        response = {
            "header": request["header"],
            "fcParams": fc_params,
            "assertions": [
                {"assertionScheme": "UAFV1TLV", "assertion": base64url.encode(self.registration(fc_params))}
            ],
        }
        return json.dumps({"uafResponse": json.dumps([response])}).encode()

    def authenticate(self, returned: bytes) -> bytes:
        """The SendUAFResponse body that answers a whole ReturnUAFRequest of an authentication.

        Header and challenge are cut out as they stand: a client that parsed would measure itself.
        """
        text = returned.decode("ascii")
        header = text[text.index(_HEADER) + len(_HEADER) : text.index(_CHALLENGE)]
        start = text.index(_CHALLENGE) + len(_CHALLENGE)
        challenge = text[start : text.index("\\", start)]
        app_id = header.partition(_APP_ID)[2].partition("\\")[0]
        fc_params = final_challenge.encode(
            final_challenge.FinalChallengeParams(app_id, challenge, LAB_FACET_ID, ChannelBinding())
        )
        assertion = base64url.encode(self.authentication(fc_params))
        return _RESPONSE.format(header=header, fc_params=fc_params, assertion=assertion).encode("ascii")


_HEADER = r"""[{\"header\":"""
_CHALLENGE = r""",\"challenge\":\""""
_APP_ID = r"""\"appID\":\""""
_RESPONSE = (
    r"""{{"uafResponse":"[{{\"header\":{header},\"fcParams\":\"{fc_params}\","""
    r"""\"assertions\":[{{\"assertionScheme\":\"UAFV1TLV\",\"assertion\":\"{assertion}\"}}]}}]"}}"""
)
