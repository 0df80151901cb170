"""Extensions: what was asked for, held against what came back (WebAuthn 9 and 10; CTAP 2.1 section 12).

An output that nobody asked for, or that is not known here, is passed over; one that contradicts the request is refused.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.messages import AuthenticationOutputs, RegistrationOutputs
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

CREDENTIAL_PROTECTION = "credentialProtectionPolicy"
ENFORCE_PROTECTION = "enforceCredentialProtectionPolicy"
LEVELS = {
    "userVerificationOptional": 1,
    "userVerificationOptionalWithCredentialIDList": 2,
    "userVerificationRequired": 3,
}
MAX_INPUTS = 16
MAX_CHARACTERS = 4096
_FLAGS = ("credProps", ENFORCE_PROTECTION, "minPinLength", "uvm")


def check_inputs(inputs: Mapping[str, Any], where: str = "$.extensions") -> None:
    """Refuse inputs that those who know the extension would refuse, and too many. Raises MalformedError."""
    if len(inputs) > MAX_INPUTS:
        raise MalformedError(where, f"more than {MAX_INPUTS} extensions")
    if len(strictjson.encode(inputs)) > MAX_CHARACTERS:
        raise MalformedError(where, f"more than {MAX_CHARACTERS} characters")
    level = inputs.get(CREDENTIAL_PROTECTION)
    if level is not None and (not isinstance(level, str) or level not in LEVELS):
        raise MalformedError(f"{where}.{CREDENTIAL_PROTECTION}", f"none of {', '.join(LEVELS)}")
    for name in _FLAGS:
        if not isinstance(inputs.get(name, True), bool):
            raise MalformedError(f"{where}.{name}", "neither true nor false")


def check_registration_outputs(
    client: RegistrationOutputs, authenticator: Mapping[object, Any], inputs: Mapping[str, Any]
) -> bool | None:
    """Hold the outputs against the inputs; return whether the credential is discoverable, None where nobody said.

    Raises:
        WebAuthnRefusal: EXTENSIONS.
    """
    level = authenticator.get("credProtect")
    if level is not None and (type(level) is not int or level not in LEVELS.values()):
        raise _refused("credProtect is no level")
    wanted = LEVELS.get(inputs.get(CREDENTIAL_PROTECTION, ""), 0)
    if inputs.get(ENFORCE_PROTECTION) is True and wanted > 1 and (level or 0) < wanted:
        raise _refused("credProtect is below the level that was demanded")
    if client.credProps is UNSET or client.credProps.rk is UNSET:
        return None
    return client.credProps.rk


def check_authentication_outputs(client: AuthenticationOutputs, inputs: Mapping[str, Any]) -> None:
    """Hold the outputs against the inputs. Raises WebAuthnRefusal EXTENSIONS."""
    if client.appid is True and "appid" not in inputs:
        raise _refused("appid was used, though nobody offered it")


def _refused(detail: str) -> WebAuthnRefusal:
    return WebAuthnRefusal(Rule.EXTENSIONS, f"extensions: {detail}")
