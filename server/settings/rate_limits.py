"""The settings of the limits on how often one address, session or user may ask."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]


def _most(description: str, unit: str) -> Meta:
    return Meta(ge=0, le=10_000_000, description=f"{description} 0: any number.", extra={"unit": unit})


class RateLimitSettings(msgspec.Struct, frozen=True):
    """`[server.rate_limits]` of the file. docs/security.md says how exactly they hold over many workers."""

    enabled: Annotated[bool, Meta(description="Whether there are limits at all; without them, benches run free.")] = (
        True
    )
    requests: Annotated[
        int,
        _most(
            "So many requests may one address (of IPv6 one /64) make of the services and pages that need no API"
            " credential.",
            "per minute",
        ),
    ] = 6000
    begun: Annotated[
        int,
        _most(
            "So many log-ins, registrations of clients and pushed requests may one address begin without an API"
            " credential: what the store has to keep.",
            "per minute",
        ),
    ] = 600
    session: Annotated[int, _most("So often may one session's status be asked for.", "per minute")] = 600
    user_pushes: Annotated[
        int, _most("So many pushes may holders of API credentials send to one user's devices.", "per minute")
    ] = 30
    password_tries: Annotated[
        int, _most("So many passwords may be tried for one user name, whoever is called so.", "per ten minutes")
    ] = 5
    exempt: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks whose addresses are not limited, such as that of one's own portal; this machine's own"
            " unless another list is given."
        ),
    ] = ("127.0.0.0/8", "::1/128")
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Networks of proxies that are believed when they say for which address they ask."),
    ] = ()
    forwarded_header: Annotated[
        ForwardedHeader,
        Meta(
            description="Where trusted proxies say it: x-forwarded-for, or forwarded (RFC 7239). The other is not read."
        ),
    ] = "x-forwarded-for"
