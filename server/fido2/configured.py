"""The relying party as it is configured."""

from urllib.parse import urlsplit

import msgspec

from fidoloop.protocol.uaf.facets import origin
from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.server.errors import SettingError
from fidoloop.server.settings.fido2 import Fido2


def filled_fido2(settings: Fido2, base_origin: str) -> Fido2:
    """Return the settings with what follows from the server's own origin.

    Raises:
        SettingError: the id is no domain, or an origin is no origin or one that browsers do not let use the id.
    """
    rp_id = settings.rp_id or urlsplit(base_origin).hostname or ""
    if rp_id != rp_id.lower() or "/" in rp_id or ":" in rp_id or not rp_id:
        raise SettingError("fido2.rp_id", "not a domain in small letters")
    origins = settings.origins or (base_origin,)
    for found in origins:
        _check_origin(found, rp_id)
    for found in settings.top_origins:
        if origin(found) != found:
            raise SettingError("fido2.top_origins", f"{found} is not an origin as browsers write it")
    return msgspec.structs.replace(settings, rp_id=rp_id, origins=origins)


def _check_origin(found: str, rp_id: str) -> None:
    """Hold an origin against the id; those of apps have no domain to compare."""
    scheme, separator, _ = found.partition("://")
    if not separator and ":" in scheme:
        return
    host = urlsplit(found).hostname
    if origin(found) != found or host is None:
        raise SettingError("fido2.origins", f"{found} is not an origin as browsers write it")
    if host != rp_id and not host.endswith(f".{rp_id}"):
        raise SettingError("fido2.origins", f"{found} is not at {rp_id} or below it, whose credentials it is to use")


def relying_party(settings: Fido2) -> RelyingParty:
    """Return the relying party of settings that are filled in."""
    return RelyingParty(settings.rp_id, frozenset(settings.origins), frozenset(settings.top_origins))
