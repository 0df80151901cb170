"""What an authorization server or a resource refuses, by its OAuth error code."""

import re
from typing import Final

from fidoloop.bridge.errors import BridgeError, ServerRefusedError

_UAF_STATUS: Final = re.compile(r"\(UAF status ([0-9]{4})\)")


class OAuthRefusedError(ServerRefusedError):
    """The server refused with an OAuth error; `error` is its code, `uaf_status` that of a UAF response inside."""

    code = "oauth_refused"

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(status, f"{error}: {description}" if description else error)
        self.error = error
        inner = _UAF_STATUS.search(description)
        self.uaf_status = None if inner is None else int(inner[1])


class NotEnrolledError(BridgeError):
    """The app is not registered at that server, or has no tokens there."""

    code = "not_enrolled"
