"""Which TLS channels responses may be bound to: those of this server's certificate, or of the proxy's before it."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.channel_binding import CHANNEL_ID_UNUSED, ChannelRule, Member, channel_binding_of
from fidoloop.server.certificate_files import ServerCertificate, load_leaf
from fidoloop.server.config import ServerConfig
from fidoloop.server.errors import SettingError

_log = logging.getLogger("fidoloop.server.channels")
SETTING = "channel_binding"
Certificates = Callable[[int], Sequence[x509.Certificate]]


class Channels:
    """The rule for responses. `certificates` are those that clients may have seen, at a time in epoch milliseconds."""

    def __init__(self, required: Member, certificates: Certificates) -> None:
        self._required = required
        self._certificates = certificates
        self._known: tuple[x509.Certificate, ...] = ()
        self._rule = ChannelRule(required=required, accepted={})

    def rule(self, now: int, tls_unique: bytes | None) -> ChannelRule:
        """Return what a response may say that arrives `now`.

        `tls_unique` is that of its connection: None where there is none (TLS 1.3, a proxy before the server), so that
        a response which names one is refused.
        """
        seen = tuple(self._certificates(now))
        if seen != self._known:
            self._take(seen)
        if tls_unique is None:
            return self._rule
        accepted = {**self._rule.accepted, "tlsUnique": frozenset((base64url.encode(tls_unique),))}
        return ChannelRule(required=self._required, accepted=accepted)

    def _take(self, seen: tuple[x509.Certificate, ...]) -> None:
        self._known = seen
        bindings = [channel_binding_of(certificate) for certificate in seen]
        end_points = (one.serverEndPoint for one in bindings if one.serverEndPoint)
        whole = (one.tlsServerCertificate for one in bindings if one.tlsServerCertificate)
        self._rule = ChannelRule(
            required=self._required,
            accepted={
                "serverEndPoint": frozenset(end_points),
                "tlsServerCertificate": frozenset(whole),
                "cid_pubkey": frozenset((CHANNEL_ID_UNUSED,)),
            },
        )
        if not self._rule.accepted[self._required]:
            _log.error("%s: no certificate in use has a %s: every response will be refused", SETTING, self._required)


def make_channels(config: ServerConfig, certificate: ServerCertificate | None) -> Channels | None:
    """Return the rule that `config` asks for, None where it asks for none.

    `certificate` is what this server shows, None where it speaks plain http.

    Raises:
        SettingError: no certificate is known, one cannot be read, or has no serverEndPoint where that is required.
    """
    required = config.channel_binding
    if required == "off":
        return None
    files = config.channel_binding_certificates
    if files:
        configured = tuple(load_leaf(Path(name), f"{SETTING}_certificates") for name in files)
        channels = Channels(required, lambda _now: configured)
    elif certificate is not None:
        own, keep_millis = certificate, max(config.lifetimes.response_millis(op) for op in ("Reg", "Auth"))
        channels = Channels(required, lambda now: own.shown_since(now - keep_millis))
    else:
        raise SettingError(SETTING, "plain http has no channel: name the proxy's in channel_binding_certificates")
    if not channels.rule(0, None).accepted[required]:
        raise SettingError(SETTING, f"the certificate is signed by an algorithm that leaves {required} undefined")
    return channels
