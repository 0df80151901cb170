"""Errors of the phone and the laptop that people and scripts tell apart (HTTP contract 9)."""

from fidoloop.protocol.uaf.status import AsmStatus, ClientError


class BridgeError(Exception):
    """Something about the phone's or laptop's work did not go through; `code` is stable."""

    code = "bridge"


class NetworkError(BridgeError):
    """The server could not be reached, or its TLS certificate is not trusted."""

    code = "network"


class StationError(NetworkError):
    """A laptop's BLE station is not in range, stalls or hangs up, or is not the only one of its short id."""

    code = "station"


class ServerRefusedError(BridgeError):
    """The server answered, and said no. `status` is the HTTP or UAF status code."""

    code = "refused"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status


class MalformedPayloadError(BridgeError):
    """What was scanned is no dispatched token."""

    code = "malformed_payload"


class DeviceMissingError(BridgeError):
    """A camera, screen or radio that was to be used is not there, or does not work."""

    code = "device_missing"


class NotInstalledError(BridgeError):
    """What the command needs is an extra that is not installed; the text says how to."""

    code = "not_installed"


class CannotDecryptError(BridgeError):
    """The token is for another device, or this phone's keys are gone."""

    code = "cannot_decrypt"


class TokenExpiredError(ServerRefusedError):
    """The token's time is over (1408)."""

    code = "token_expired"


class TokenRedeemedError(ServerRefusedError):
    """Somebody redeemed the token before (1403)."""

    code = "token_redeemed"


class UnknownHostError(BridgeError):
    """The token wants to be redeemed at a host this phone is not registered with."""

    code = "unknown_host"


class NoDispatchTargetError(BridgeError):
    """The account has no dispatch target, or its server does not know it any more."""

    code = "no_dispatch_target"


class UserDeclinedError(BridgeError):
    """The user said no, or did not answer."""

    code = "user_declined"


class ClientFailureError(BridgeError):
    """The UAF client could not complete the operation; the codes go to the server (HTTP contract 3 and 4)."""

    code = "client_failure"

    def __init__(self, error: ClientError, detail: str, asm_status: AsmStatus | None = None) -> None:
        super().__init__(f"{error.name}: {detail}")
        self.error = error
        self.asm_status = asm_status
        self.detail = detail
