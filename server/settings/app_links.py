"""The settings of the apps that take this server's links."""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

ANDROID: Final = re.compile(r"([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)+) ([0-9A-F]{2}(?::[0-9A-F]{2}){31})")
"""A package name, and the SHA-256 of a certificate that signs it."""
APPLE: Final = re.compile(r"[A-Z0-9]{10}\.[A-Za-z0-9][A-Za-z0-9.-]{0,154}")
"""A team's prefix, and a bundle id."""


class AppLinks(msgspec.Struct, frozen=True):
    """`[server.app_links]` of the file: apps that open https links of this server, and may use its passkeys."""

    android: Annotated[
        tuple[str, ...],
        Meta(
            description="Android apps, each a package name, a space and the SHA-256 of its signing certificate"
            " (AA:BB:…): what /.well-known/assetlinks.json says. Empty: there is no such file."
        ),
    ] = ()
    apple: Annotated[
        tuple[str, ...],
        Meta(
            description="Apple apps, each TEAMID.bundle.id: what /.well-known/apple-app-site-association says."
            " Empty: there is no such file."
        ),
    ] = ()
