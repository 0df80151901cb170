"""ChannelBinding and its check (UAF protocol 3.1.3; digest 1.2)."""

import hmac

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol.uaf.status import StatusCode, UafRefusal


class ChannelBinding(msgspec.Struct, frozen=True, omit_defaults=True):
    """The TLS channel as the client saw it; every member may be absent."""

    serverEndPoint: str | UnsetType = UNSET
    tlsServerCertificate: str | UnsetType = UNSET
    tlsUnique: str | UnsetType = UNSET
    cid_pubkey: str | UnsetType = UNSET


def check_channel_binding(found: ChannelBinding, expected: ChannelBinding | None) -> None:
    """Refuse a channel other than `expected`; None means that nothing is configured to be bound.

    Raises:
        UafRefusal: CHANNEL_BINDING_REFUSED where an expected member is absent or differs.
    """
    if expected is None:
        return
    for name in expected.__struct_fields__:
        wanted, got = getattr(expected, name), getattr(found, name)
        if wanted is UNSET:
            continue
        if got is UNSET or not hmac.compare_digest(got.encode("utf-8"), wanted.encode("utf-8")):
            raise UafRefusal(StatusCode.CHANNEL_BINDING_REFUSED, f"channelBinding.{name} does not match")
