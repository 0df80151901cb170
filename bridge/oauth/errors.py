"""What an authorization server or a resource refuses, by its OAuth error code."""

from fidoloop.bridge.errors import ServerRefusedError


class OAuthRefusedError(ServerRefusedError):
    """The server refused with an OAuth error; `error` is its code."""

    code = "oauth_refused"

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(status, f"{error}: {description}" if description else error)
        self.error = error


class NotEnrolledError(OAuthRefusedError):
    """The app is not registered at that server, or has no tokens there."""

    code = "not_enrolled"

    def __init__(self, detail: str) -> None:
        super().__init__(0, "not enrolled", detail)
