"""Commands that a pinUvAuthParam has to come with, whoever is present (CTAP 2.1, sections 6.8, 6.10, 6.11)."""

from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.core import Core
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.members import Members, optional, unsigned
from fidoloop.authenticator.ctap2.verification import check_protocol


def require_proof(
    core: Core, members: Members, *, protocol: int, parameter: int, message: bytes, permission: Permission
) -> None:
    """Hold the pinUvAuthParam against `message` and the token's permission.

    `protocol` and `parameter` are the numbers of the command's members.

    Raises:
        CtapError: PUAT_REQUIRED, MISSING_PARAMETER, INVALID_PARAMETER, PIN_AUTH_INVALID.
    """
    proof = optional(members, parameter, bytes)
    if proof is None:
        raise CtapError(ERR.PUAT_REQUIRED)
    version = check_protocol(core, unsigned(members, protocol))
    if not core.token.verify(version, message, proof) or permission not in core.token.permissions:
        raise CtapError(ERR.PIN_AUTH_INVALID)
