"""The services of the profile for Janssen's demo app, described; where it is off, there is nothing at their paths."""

from typing import Any

from fidoloop.server.oauth.challenge.endpoint import ChallengeAnswer
from fidoloop.server.oauth.grants import TokenResponse
from fidoloop.server.oauth.jans_chip.profile import CHALLENGES, METADATA, REGISTER, REVOKE, TOKEN, USERINFO
from fidoloop.server.oauth.jans_chip.registration import ChipClient, ChipRegistration
from fidoloop.server.oauth.jans_chip.tokens import UserInfo
from fidoloop.server.openapi.described import Described

_GROUP = "Janssen's demo app"
_OFF = (404, "the profile is turned off")
_BAD = (400, "The request, the evidence or the proof is not accepted: `error` says which")
_CLIENT = (401, "Client or secret is wrong, or the device policy does not allow the app")


def jans_chip() -> dict[tuple[str, str], Described]:
    """Return the operations by method and path."""
    challenges = {
        ("POST", path): Described(
            group=_GROUP,
            summary=f"A code by password or passkey ({path.rpartition('/')[2]})",
            description="A right password opens an enrolment at the FIDO2 service, for one credential, from the same"
            " address, for two minutes. Other clients are answered as at `/authorize-challenge`.",
            form=(
                ("client_id", "The app", True),
                ("acr_values", "passkey", True),
                ("auth_method", "enroll or authenticate", True),
                ("username", "Whose password or passkey it is", False),
                ("password", "To enroll", False),
                ("assertion_result_request", "To authenticate: the JSON of a PublicKeyCredential", False),
                ("nonce", "Comes back in the id_token", False),
            ),
            answer=ChallengeAnswer,
            errors=(_BAD, (401, "It is not proved who that is"), (429, "Too many wrong passwords")),
            problems=(_OFF,),
        )
        for path in CHALLENGES
    }
    return challenges | {
        ("GET", METADATA): Described(
            group=_GROUP,
            summary="Metadata of OpenID Connect",
            description="OpenID Connect Discovery; the endpoints are this profile's.",
            answer=dict[str, Any],
            problems=(_OFF,),
        ),
        ("POST", REGISTER): Described(
            group=_GROUP,
            summary="Register the app",
            description="By a publisher's statement and evidence that the app signs itself: nobody vouches for it.",
            request=ChipRegistration,
            answer=ChipClient,
            status=201,
            errors=(_BAD, _CLIENT),
            problems=(_OFF,),
        ),
        ("POST", TOKEN): Described(
            group=_GROUP,
            summary="A code against tokens, by client secret",
            description="With a DPoP proof by the key that the app registered, whose htu may be the issuer.",
            form=(
                ("grant_type", "authorization_code", True),
                ("code", "The code", True),
                ("redirect_uri", "The issuer", True),
                ("client_id", "Must be the authenticated client, if given", False),
            ),
            answer=TokenResponse,
            errors=(_BAD, _CLIENT, (403, "The device policy does not allow this acr any more")),
            problems=(_OFF,),
        ),
        ("POST", USERINFO): Described(
            group=_GROUP,
            summary="Who is logged in, for a bearer token of the app",
            form=(("access_token", "As in the Authorization header", False),),
            answer=UserInfo,
            errors=(_BAD, (401, "The token is not good, not of the app, or not for openid")),
            problems=(_OFF,),
        ),
        ("POST", REVOKE): Described(
            group=_GROUP,
            summary="Log the app out",
            form=(("token", "Any token of the grant", True), ("token_type_hint", "Not needed", False)),
            answer=dict[str, Any],
            errors=(_BAD, _CLIENT),
            problems=(_OFF,),
        ),
    }
