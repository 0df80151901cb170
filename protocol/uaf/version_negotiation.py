"""Which protocol version and which version of the ASM API an operation uses (UAF protocol 3.4.6; digest 2.1)."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from fidoloop.protocol.uaf.messages import V1_0, V1_1, Version


class VersionPair(NamedTuple):
    """A version of the protocol, and the version of the ASM API that a client uses with it."""

    upv: Version
    asm: Version


CLIENT_PAIRS: Final = (VersionPair(V1_1, V1_1), VersionPair(V1_0, V1_0))
"""What our client speaks."""


def negotiate(
    offered: Iterable[Version], asm_versions: Iterable[Version], pairs: Iterable[VersionPair] = CLIENT_PAIRS
) -> VersionPair | None:
    """Return the pair for one authenticator: the highest protocol version, then the highest of the ASM; None if none.

    Args:
        offered: the versions of the elements of the message.
        asm_versions: those that the authenticator's ASM speaks.
        pairs: those that the client speaks.
    """
    there, spoken = set(offered), set(asm_versions)
    common = [pair for pair in pairs if pair.upv in there and pair.asm in spoken]
    return max(common, key=_order, default=None)


def _order(pair: VersionPair) -> tuple[int, int, int, int]:
    return pair.upv.major, pair.upv.minor, pair.asm.major, pair.asm.minor
