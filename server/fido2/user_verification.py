"""How much user verification a ceremony asks for, and how long it may take then."""

from msgspec import UnsetType

from fidoloop.protocol.webauthn.messages import UserVerification
from fidoloop.server.settings.declared import Lifetimes

_ORDER: tuple[UserVerification, ...] = ("discouraged", "preferred", "required")


def stricter(asked: UserVerification | UnsetType | None, least: UserVerification) -> UserVerification:
    """Return what is asked for, or the least there must be where that is more."""
    if not isinstance(asked, str):
        return least
    return max(asked, least, key=_ORDER.index)


def lifetime_millis(lifetimes: Lifetimes, user_verification: UserVerification | UnsetType) -> int:
    """Return how long options wait for their result (HTTP contract 11)."""
    seconds = lifetimes.fido2_unverified if user_verification == "discouraged" else lifetimes.fido2_verified
    return 1000 * seconds
