"""What a server expects of every response: the checks that registration and authentication share.

UAF protocol 3.4.6.5 and 3.5.7.5, steps 1 to 4.
"""

import hmac

import msgspec

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import final_challenge
from fidoloop.protocol.uaf.channel_binding import ChannelRule, check_channel_binding
from fidoloop.protocol.uaf.extensions import KNOWN_TO_SERVER, first_unknown_required
from fidoloop.protocol.uaf.facets import is_trusted
from fidoloop.protocol.uaf.final_challenge import FinalChallengeParams
from fidoloop.protocol.uaf.messages import V1_1, AuthenticatorAssertion, Operation, UafResponse, Version
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """One operation as the server issued it. `challenge` is the base64url text sent.

    `app_id` is empty where the request named none: then the caller's FacetID takes its place.
    """

    app_id: str
    challenge: str
    trusted_facets: frozenset[str]
    versions: tuple[Version, ...] = (V1_1,)
    channel_binding: ChannelRule | None = None


def check_response(response: UafResponse, *, operation: Operation, expected: Expected) -> FinalChallengeParams:
    """Check header and final challenge params in the spec's order; return the params.

    Raises:
        UafRefusal: REQUEST_INVALID (version, challenge), CHANNEL_BINDING_REFUSED, or UNACCEPTABLE_CONTENT.
    """
    header = response.header
    if header.upv not in expected.versions:
        raise UafRefusal(StatusCode.REQUEST_INVALID, "header.upv is not a version that was offered")
    if header.op != operation:
        raise _content(f"header.op is not {operation}")
    unknown = first_unknown_required(header.exts or (), KNOWN_TO_SERVER)
    if unknown is not None:
        raise _content(f"header.exts: {unknown} must be understood and is not")
    try:
        params = final_challenge.decode(response.fcParams)
    except MalformedError as error:
        raise _content(str(error)) from None
    if header.appID and header.appID != expected.app_id:
        raise _content("header.appID is not this server's")
    if params.appID != (expected.app_id or params.facetID):
        raise _content("fcParams.appID is not this server's")
    if not is_trusted(params.facetID, expected.trusted_facets):
        raise _content("fcParams.facetID is not a trusted facet")
    check_channel_binding(params.channelBinding, expected.channel_binding)
    if not hmac.compare_digest(params.challenge.encode("utf-8"), expected.challenge.encode("utf-8")):
        raise UafRefusal(StatusCode.REQUEST_INVALID, "fcParams.challenge is not the one issued")
    if not response.assertions:
        raise _content("no assertions")
    return params


def check_wrapper(wrapper: AuthenticatorAssertion) -> None:
    """Check what stands around an assertion: its scheme and its extensions.

    Raises:
        UafRefusal: UNACCEPTABLE_CONTENT.
    """
    if wrapper.assertionScheme != ASSERTION_SCHEME:
        raise _content("assertionScheme is not UAFV1TLV")
    unknown = first_unknown_required(wrapper.exts or (), KNOWN_TO_SERVER)
    if unknown is not None:
        raise _content(f"assertion extension {unknown} must be understood and is not")


def _content(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, detail)
