"""ChannelBinding, what a client makes of its TLS channel and what a server takes (UAF protocol 3.1.3; digest 1.2)."""

import hmac
from collections.abc import Mapping
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import UNSET, UnsetType

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

Member = Literal["serverEndPoint", "tlsServerCertificate", "tlsUnique", "cid_pubkey"]
MEMBERS: tuple[Member, ...] = ("serverEndPoint", "tlsServerCertificate", "tlsUnique", "cid_pubkey")
CHANNEL_ID_UNUSED = "unused"
"""cid_pubkey of a client that knows Channel ID where the server does not."""


class ChannelBinding(msgspec.Struct, frozen=True, omit_defaults=True):
    """The TLS channel as the client saw it; every member may be absent."""

    serverEndPoint: str | UnsetType = UNSET
    tlsServerCertificate: str | UnsetType = UNSET
    tlsUnique: str | UnsetType = UNSET
    cid_pubkey: str | UnsetType = UNSET


class ChannelRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a server takes: `required` must be there, and whatever is there must be one of its `accepted` values."""

    required: Member
    accepted: Mapping[Member, frozenset[str]]


def channel_binding_of(certificate: x509.Certificate) -> ChannelBinding:
    """Return the members that follow from the server's certificate; serverEndPoint is absent where it is undefined."""
    end_point = server_end_point(certificate)
    return ChannelBinding(
        serverEndPoint=UNSET if end_point is None else end_point,
        tlsServerCertificate=base64url.encode(certificate.public_bytes(Encoding.DER)),
    )


def server_end_point(certificate: x509.Certificate) -> str | None:
    """Return the tls-server-end-point of a certificate, base64url (RFC 5929 section 4.1), or None where undefined.

    Its hash is that of the certificate's signature, SHA-256 in the place of MD5 and SHA-1; a signature that has no one
    hash (Ed25519, Ed448) leaves it undefined.
    """
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    if isinstance(algorithm, (hashes.MD5, hashes.SHA1)):
        algorithm = hashes.SHA256()
    return base64url.encode(certificate.fingerprint(algorithm))


def check_channel_binding(found: ChannelBinding, rule: ChannelRule | None) -> None:
    """Refuse a channel that `rule` does not take; None means that nothing is configured to be bound.

    Raises:
        UafRefusal: CHANNEL_BINDING_REFUSED where the required member is absent, or one that is there is not accepted.
    """
    if rule is None:
        return
    if getattr(found, rule.required) is UNSET:
        raise _refused(rule.required, "is required")
    for name in MEMBERS:
        value = getattr(found, name)
        if value is not UNSET and not _is_one_of(value, rule.accepted.get(name, frozenset())):
            raise _refused(name, "is not that of this server's channel")


def _is_one_of(value: str, accepted: frozenset[str]) -> bool:
    sent = value.encode("utf-8")
    return any(hmac.compare_digest(sent, text.encode("utf-8")) for text in accepted)


def _refused(name: str, what: str) -> UafRefusal:
    return UafRefusal(StatusCode.CHANNEL_BINDING_REFUSED, f"channelBinding.{name} {what}")
