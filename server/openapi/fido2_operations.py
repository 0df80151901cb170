"""What each FIDO2 service is for; see `operations`."""

from fidoloop.protocol.webauthn.messages import AuthenticationCredential, RegistrationCredential
from fidoloop.server.openapi.described import CREDENTIAL, MAYBE, OPEN, Described
from fidoloop.server.services.fido2_messages import (
    Fido2Configuration,
    Fido2Options,
    Fido2OptionsRequest,
    Fido2Result,
    Fido2Status,
    Fido2StatusRequest,
)
from fidoloop.server.services.jans_fido2 import BASE_PATH, WELL_KNOWN

_REFUSED = (400, "the body is no such message, or a check of WebAuthn fails: `errorMessage` says which")
_NOT_SAID = (400, "the body is no such message, or the assertion is refused; only the log says why")
_NOBODY = (403, "there is no such user, or he is disabled")
_ELSEWHERE = (403, "the options were another caller's")
_TOO_MANY = (429, "too many authentications were begun from one address")
_ONCE = " Its challenge is used up, whatever comes of it."


def fido2() -> dict[tuple[str, str], Described]:
    """Return nevisFIDO's services, their paths below the context path."""
    group = "FIDO2"
    return {
        ("POST", "/fido2/attestation/options"): Described(
            group=group,
            summary="FIDO2 options",
            description="A registration where displayName, authenticatorSelection or attestation is there: it takes an"
            " API credential, or a browser that is logged in as that user. Else an authentication: of the user named,"
            " or of whoever answers.",
            request=Fido2OptionsRequest,
            answer=Fido2Options,
            refused=Fido2Result,
            who=MAYBE,
            problems=(_REFUSED, _NOBODY, _TOO_MANY),
        ),
        ("POST", "/fido2/attestation/result"): Described(
            group=group,
            summary="FIDO2 registration result",
            description="Takes the API credential, or the browser, that asked for the options." + _ONCE,
            request=RegistrationCredential,
            answer=Fido2Result,
            refused=Fido2Result,
            who=MAYBE,
            problems=(_REFUSED, _ELSEWHERE),
        ),
        ("POST", "/fido2/assertion/result"): Described(
            group=group,
            summary="FIDO2 authentication result",
            description="Status says who was authenticated." + _ONCE,
            request=AuthenticationCredential,
            answer=Fido2Result,
            refused=Fido2Result,
            who=OPEN,
            problems=(_NOT_SAID, _ELSEWHERE),
        ),
        ("POST", "/fido2/status"): Described(
            group=group,
            summary="What became of a FIDO2 session",
            description="A session that nobody knows is `unknown`, not an error.",
            request=Fido2StatusRequest,
            answer=Fido2Status,
            refused=Fido2Result,
        ),
    }


def jans_fido2() -> dict[tuple[str, str], Described]:
    """Return the services in Janssen's shape."""
    group = "FIDO2 as Janssen has it"
    return {
        ("GET", WELL_KNOWN): Described(group=group, summary="Where the FIDO2 services are", answer=Fido2Configuration),
        ("POST", f"{BASE_PATH}/attestation/options"): Described(
            group=group,
            summary="Registration options",
            request=Fido2OptionsRequest,
            answer=Fido2Options,
            refused=Fido2Result,
            who=CREDENTIAL,
            problems=(_REFUSED, _NOBODY),
        ),
        ("POST", f"{BASE_PATH}/attestation/result"): Described(
            group=group,
            summary="Registration result",
            description="Takes the API credential that asked for the options." + _ONCE,
            request=RegistrationCredential,
            answer=Fido2Result,
            refused=Fido2Result,
            who=CREDENTIAL,
            problems=(_REFUSED, _ELSEWHERE),
        ),
        ("POST", f"{BASE_PATH}/assertion/options"): Described(
            group=group,
            summary="Authentication options",
            request=Fido2OptionsRequest,
            answer=Fido2Options,
            refused=Fido2Result,
            problems=(_REFUSED, _TOO_MANY),
        ),
        ("POST", f"{BASE_PATH}/assertion/result"): Described(
            group=group,
            summary="Authentication result",
            description=_ONCE.strip(),
            request=AuthenticationCredential,
            answer=Fido2Result,
            refused=Fido2Result,
            problems=(_NOT_SAID, _ELSEWHERE),
        ),
    }
