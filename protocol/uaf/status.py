"""Status codes of server, client and ASM, and how one turns into the next.

UAF protocol 3.1.9, client API 3.1, ASM API 3.2.3.
"""

from enum import IntEnum


class StatusCode(IntEnum):
    """UAF status code in ServerResponse and ReturnUAFRequest."""

    OK = 1200
    ACCEPTED = 1202
    BAD_REQUEST = 1400
    UNAUTHORIZED = 1401
    FORBIDDEN = 1403
    NOT_FOUND = 1404
    REQUEST_TIMEOUT = 1408
    UNKNOWN_AAID = 1480
    UNKNOWN_KEYID = 1481
    CHANNEL_BINDING_REFUSED = 1490
    REQUEST_INVALID = 1491
    UNACCEPTABLE_AUTHENTICATOR = 1492
    REVOKED_AUTHENTICATOR = 1493
    UNACCEPTABLE_KEY = 1494
    UNACCEPTABLE_ALGORITHM = 1495
    UNACCEPTABLE_ATTESTATION = 1496
    UNACCEPTABLE_CLIENT_CAPABILITIES = 1497
    UNACCEPTABLE_CONTENT = 1498
    INTERNAL_SERVER_ERROR = 1500


class AsmStatus(IntEnum):
    """ASM API status code (ASM API 1.1, 3.2.3)."""

    OK = 0x00
    ERROR = 0x01
    ACCESS_DENIED = 0x02
    USER_CANCELLED = 0x03
    CANNOT_RENDER_TRANSACTION_CONTENT = 0x04
    KEY_DISAPPEARED_PERMANENTLY = 0x09
    AUTHENTICATOR_DISCONNECTED = 0x0B
    USER_NOT_RESPONSIVE = 0x0E
    INSUFFICIENT_AUTHENTICATOR_RESOURCES = 0x0F
    USER_LOCKOUT = 0x10
    USER_NOT_ENROLLED = 0x11


class ClientError(IntEnum):
    """UAF client ErrorCode (UAF client API 1.1, 3.1)."""

    NO_ERROR = 0x00
    WAIT_USER_ACTION = 0x01
    INSECURE_TRANSPORT = 0x02
    USER_CANCELLED = 0x03
    UNSUPPORTED_VERSION = 0x04
    NO_SUITABLE_AUTHENTICATOR = 0x05
    PROTOCOL_ERROR = 0x06
    UNTRUSTED_FACET_ID = 0x07
    KEY_DISAPPEARED_PERMANENTLY = 0x09
    AUTHENTICATOR_ACCESS_DENIED = 0x0C
    INVALID_TRANSACTION_CONTENT = 0x0D
    USER_NOT_RESPONSIVE = 0x0E
    INSUFFICIENT_AUTHENTICATOR_RESOURCES = 0x0F
    USER_LOCKOUT = 0x10
    USER_NOT_ENROLLED = 0x11
    UNKNOWN = 0xFF


CLIENT_ERROR_OF_ASM_STATUS: dict[AsmStatus, ClientError] = {
    AsmStatus.OK: ClientError.NO_ERROR,
    AsmStatus.ERROR: ClientError.UNKNOWN,
    AsmStatus.ACCESS_DENIED: ClientError.AUTHENTICATOR_ACCESS_DENIED,
    AsmStatus.USER_CANCELLED: ClientError.USER_CANCELLED,
    AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT: ClientError.INVALID_TRANSACTION_CONTENT,
    AsmStatus.KEY_DISAPPEARED_PERMANENTLY: ClientError.KEY_DISAPPEARED_PERMANENTLY,
    AsmStatus.AUTHENTICATOR_DISCONNECTED: ClientError.NO_SUITABLE_AUTHENTICATOR,
    AsmStatus.USER_NOT_RESPONSIVE: ClientError.USER_NOT_RESPONSIVE,
    AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES: ClientError.INSUFFICIENT_AUTHENTICATOR_RESOURCES,
    AsmStatus.USER_LOCKOUT: ClientError.USER_LOCKOUT,
    AsmStatus.USER_NOT_ENROLLED: ClientError.USER_NOT_ENROLLED,
}
"""Client API 1.1, 3.2: what the client reports for an ASM status."""


class UafRefusal(Exception):
    """A UAF message was understood and is refused.

    `status` is the code the server answers with (HTTP contract 11a), `detail` says which rule failed.
    """

    def __init__(self, status: StatusCode, detail: str) -> None:
        super().__init__(f"{int(status)}: {detail}")
        self.status = status
        self.detail = detail
