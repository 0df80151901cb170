"""Whoever is pushed to: the keys of a subscription, and http-ece to read what comes."""

import os
from dataclasses import dataclass, field

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol.web_push import Subscription, encode_subscription


@dataclass
class Subscriber:
    """One subscription at `endpoint`."""

    endpoint: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def target(self) -> str:
        """The PushSubscription's JSON."""
        return encode_subscription(Subscription(self.endpoint, self.key.public_key(), self.auth))

    def read(self, body: bytes) -> bytes:
        """The plaintext of a push message, by http-ece."""
        plaintext: bytes = http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth)
        return plaintext
