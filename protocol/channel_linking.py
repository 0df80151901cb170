"""Channel linking: by what it answers, the phone shows that it is beside whoever asked (HTTP contract 8)."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

MAX_CONTENT_CHARACTERS = 128
USUAL_DIGITS = 2

Mode = Literal["number", "ble"]


class ChannelLinkingDemand(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a dispatch asks for, and what its payload says that the phone must answer.

    `number`: as many digits as `digits` says, which a person reads off the laptop. `ble`: the nonce of the station.
    """

    mode: Mode
    digits: Annotated[int, Meta(ge=2, le=6)] | UnsetType = UNSET


class ChannelLinking(msgspec.Struct, frozen=True):
    """What the laptop shows (`number`) or its station hands out (`ble`); never in the payload."""

    mode: Mode
    content: str
