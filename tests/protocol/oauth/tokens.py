"""JWTs of any content whatever, rightly signed."""

import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url, jose

from ..builders import p256, raw

JWK = dict(jose.public_jwk(p256().public_key()).members)
OTHER = ec.derive_private_key(4711, ec.SECP256R1())
OTHER_JWK = dict(jose.public_jwk(OTHER.public_key()).members)


def signed_jwt(
    header: Mapping[str, object], claims: Mapping[str, object], key: ec.EllipticCurvePrivateKey | None = None
) -> str:
    """Returns the JWT signed with ES256, whatever its header says; members set to None are left out."""
    signed = ".".join(
        base64url.encode(json.dumps({name: value for name, value in part.items() if value is not None}).encode())
        for part in (header, claims)
    )
    return f"{signed}.{base64url.encode(raw(key or p256(), signed.encode()))}"
