"""A simulated phone: one UAF key and its counter, with as little work around the signature as there can be."""

import json
import os
from collections.abc import Callable
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

SOFTWARE_AAID = "FFFF#0001"
ALGORITHM = Algorithm.SECP256R1_ECDSA_SHA256_RAW
KEY_FORMAT = PublicKeyFormat.ECC_X962_RAW


def software_statement() -> MetadataStatement:
    """Return the metadata of phones whose keys are in this process's memory: surrogate attestation, P-256."""
    return MetadataStatement(
        aaid=SOFTWARE_AAID,
        description="fidoloop load: a key in a program's memory",
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


def software_signer(key: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    """Return how a P-256 key in memory signs under ALGORITHM: r‖s."""
    algorithm = ec.ECDSA(hashes.SHA256())

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, algorithm))
        return r.to_bytes(32) + s.to_bytes(32)

    return sign


@dataclass
class SimulatedPhone:
    """One P-256 key, in memory or in a token, and its counter. `sign` returns r‖s over a message.

    `verifies` tells whether its model verifies its user; one that does not logs in only whom the request names.
    """

    public_key: ec.EllipticCurvePublicKey
    sign: Callable[[bytes], bytes]
    aaid: str = SOFTWARE_AAID
    key_id: bytes = field(default_factory=lambda: os.urandom(32))
    facet_id: str = LAB_FACET_ID
    verifies: bool = True
    user_handle: str = ""
    counter: int = 0

    @classmethod
    def in_software(
        cls, key: ec.EllipticCurvePrivateKey | None = None, *, facet_id: str = LAB_FACET_ID
    ) -> "SimulatedPhone":
        """Return a phone with this key, or a new one, in memory."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        return cls(key.public_key(), software_signer(key), facet_id=facet_id)

    def fc_params(self, app_id: str, challenge: str) -> str:
        """Return fcParams."""
        params = final_challenge.FinalChallengeParams(app_id, challenge, self.facet_id, ChannelBinding())
        return final_challenge.encode(params)

    def registration(self, fc_params: str) -> bytes:
        """Return a registration assertion."""
        krd = assertions.encode_krd(
            aaid=self.aaid,
            authenticator_version=1,
            signature_algorithm=ALGORITHM,
            public_key_format=KEY_FORMAT,
            final_challenge_hash=final_challenge.final_challenge_hash(fc_params),
            key_id=self.key_id,
            sign_counter=0,
            registration_counter=1,
            public_key=encode_public_key(KEY_FORMAT, self.public_key),
        )
        return assertions.encode_registration_assertion(
            krd, attestation_type=AttestationType.BASIC_SURROGATE, signature=self.sign(krd)
        )

    def authentication(self, fc_params: str) -> bytes:
        """Return an authentication assertion with the next counter."""
        self.counter += 1
        signed_data = assertions.encode_signed_data(
            aaid=self.aaid,
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

    def register(self, returned: bytes) -> bytes:
        """Return the SendUAFResponse body that answers a ReturnUAFRequest of a registration.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        (request,) = json.loads(json.loads(returned)["uafRequest"])
        return self._response(request, self.registration)

    def authenticate(self, returned: bytes) -> bytes:
        """Return the SendUAFResponse body that answers a ReturnUAFRequest of an authentication.

        Header and challenge are cut out as they stand, where the message is written as this project's server writes
        it: a client that parsed would measure itself.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        text = returned.decode("ascii")
        if _HEADER not in text or _CHALLENGE not in text:
            (request,) = json.loads(json.loads(returned)["uafRequest"])
            return self._response(request, self.authentication)
        header = text[text.index(_HEADER) + len(_HEADER) : text.index(_CHALLENGE)]
        start = text.index(_CHALLENGE) + len(_CHALLENGE)
        challenge = text[start : text.index("\\", start)]
        app_id = header.partition(_APP_ID)[2].partition("\\")[0]
        fc_params = self.fc_params(app_id, challenge)
        assertion = base64url.encode(self.authentication(fc_params))
        return _RESPONSE.format(header=header, fc_params=fc_params, assertion=assertion).encode("ascii")

    def _response(self, request: dict[str, object], assertion: Callable[[str], bytes]) -> bytes:
        header = request["header"]
        if not isinstance(header, dict):
            raise TypeError("header: not an object")
        fc_params = self.fc_params(str(header["appID"]), str(request["challenge"]))
        made = {"assertionScheme": "UAFV1TLV", "assertion": base64url.encode(assertion(fc_params))}
        response = {"header": header, "fcParams": fc_params, "assertions": [made]}
        return json.dumps({"uafResponse": json.dumps([response])}).encode()


_HEADER = r"""[{\"header\":"""
_CHALLENGE = r""",\"challenge\":\""""
_APP_ID = r"""\"appID\":\""""
_RESPONSE = (
    r"""{{"uafResponse":"[{{\"header\":{header},\"fcParams\":\"{fc_params}\","""
    r"""\"assertions\":[{{\"assertionScheme\":\"UAFV1TLV\",\"assertion\":\"{assertion}\"}}]}}]"}}"""
)
