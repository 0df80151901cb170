"""Every setting of the server: its name, type, limits, default, unit and what it is for. All else follows from here."""

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from fidoloop.server.settings.app_links import AppLinks
from fidoloop.server.settings.connections import ConnectionSettings
from fidoloop.server.settings.fido2 import Fido2
from fidoloop.server.settings.oauth import OAuthSettings
from fidoloop.server.settings.rate_limits import RateLimitSettings

DEFAULT_LINK_BASE_URL = "fidoloop://authenticate"
_MOST_SECONDS = 366 * 24 * 3600

Dispatcher = Literal["png-qr-code", "link", "link-png-qr-code", "web-push", "ble", "firebase-cloud-messaging"]
DISPATCHERS: tuple[Dispatcher, ...] = ("png-qr-code", "link", "link-png-qr-code", "web-push", "ble")
LogFormat = Literal["plain", "json"]
MetricsAccess = Literal["loopback", "credential", "open", "off"]
ChannelBindingMember = Literal["off", "serverEndPoint", "tlsServerCertificate"]
TlsVersion = Literal["1.2", "1.3"]
ProtocolVersion = Literal["1.0", "1.1", "1.2"]


def _seconds(description: str, *, least: int = 1) -> Meta:
    return Meta(ge=least, le=_MOST_SECONDS, description=description, extra={"unit": "seconds"})


class Lifetimes(msgspec.Struct, frozen=True):
    """How long things live (HTTP contract 11)."""

    registration_token: Annotated[int, _seconds("A registration token waits so long to be redeemed.")] = 300
    registration_response: Annotated[int, _seconds("A registration request waits so long for its response.")] = 300
    authentication_token: Annotated[int, _seconds("An authentication token waits so long to be redeemed.")] = 120
    authentication_response: Annotated[int, _seconds("An authentication request waits so long for its response.")] = 120
    deregistration_token: Annotated[int, _seconds("A deregistration token waits so long to be redeemed.")] = 120
    device_clock_drift: Annotated[
        int, _seconds("So far may a device's clock be from the server's in what the device signs.")
    ] = 300
    target: Annotated[
        int, _seconds("A dispatch target expires so long after its last use; 0: it never does.", least=0)
    ] = 0
    web_login: Annotated[int, _seconds("A browser stays logged in so long.")] = 8 * 3600
    web_browser: Annotated[int, _seconds("A browser whose user wants it stays remembered so long.")] = 90 * 24 * 3600
    fido2_verified: Annotated[
        int, _seconds("FIDO2 options that ask for user verification wait so long for their result.")
    ] = 300
    fido2_unverified: Annotated[int, _seconds("FIDO2 options that discourage it wait so long for their result.")] = 120
    finished_session: Annotated[int, _seconds("So long after its beginning a session's status can be asked for.")] = (
        3600
    )

    def token_millis(self, op: str) -> int:
        """Return how long a token for operation `op` may wait for its redemption."""
        seconds = {"Reg": self.registration_token, "Auth": self.authentication_token}
        return 1000 * seconds.get(op, self.deregistration_token)

    def response_millis(self, op: str) -> int:
        """Return how long a challenge of operation `op` may wait for its response."""
        return 1000 * (self.registration_response if op == "Reg" else self.authentication_response)


class Tls(msgspec.Struct, frozen=True):
    """TLS by certificate files of one's own; without them it is by the lab CA in HOME/tls."""

    cert: Annotated[
        str,
        Meta(description="The server's certificate, PEM, its chain behind it. Empty: one of the lab CA in HOME/tls."),
    ] = ""
    key: Annotated[str, Meta(description="The certificate's private key, PEM, not encrypted.")] = ""
    minimum_version: Annotated[TlsVersion, Meta(description="The oldest TLS version spoken: 1.2 or 1.3.")] = "1.2"


class WebPush(msgspec.Struct, frozen=True):
    """Where the dispatcher web-push may post to, and as whom."""

    subject: Annotated[
        str,
        Meta(
            max_length=512,
            pattern=r"^(mailto:[!-~]+|https:[!-~]+)?\Z",
            description="How a push service reaches whoever runs this server: mailto: or https: (RFC 8292). Empty: the"
            " base URL.",
        ),
    ] = ""
    hosts: Annotated[
        tuple[str, ...],
        Meta(description="Hosts of push endpoints, `*.example.org` for all below one. Empty: any host."),
    ] = ()
    networks: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks, such as 127.0.0.0/8, whose addresses push endpoints may have although they are not"
            " public."
        ),
    ] = ()
    ca: Annotated[
        str,
        Meta(
            description="PEM file of CAs to trust with push endpoints, beside the system's and, where TLS is by it, the"
            " lab CA."
        ),
    ] = ""


class Fcm(msgspec.Struct, frozen=True):
    """How the dispatcher firebase-cloud-messaging sends; it is configured by naming it in `dispatchers`."""

    service_account: Annotated[
        str, Meta(description="The service account's JSON file, as Google hands it out. Its project is sent through.")
    ] = ""
    dry_run: Annotated[bool, Meta(description="Have FCM check messages and deliver none.")] = False
    endpoint: Annotated[str, Meta(min_length=1, description="Where FCM is; plain http on the loopback only.")] = (
        "https://fcm.googleapis.com"
    )
    token_uri: Annotated[
        str, Meta(description="Where access tokens are got. Empty: where the service account's file says.")
    ] = ""
    remove_unregistered_clients: Annotated[
        bool,
        Meta(
            description="Delete a dispatch target whose registration token FCM does not know any more; otherwise it"
            " expires."
        ),
    ] = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[server]` of the file. An empty text where the description says what follows then is the same as not set."""

    base_url: Annotated[
        str,
        Meta(
            description="The server's URL as phones and laptops see it, with a path where a proxy takes that off the"
            " requests. Empty: https://localhost and the port."
        ),
    ] = ""
    host: Annotated[str, Meta(min_length=1, description="The address to listen on.")] = "127.0.0.1"
    hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Names that requests may have in Host besides that of base_url, localhost and IP addresses; all"
            " others are refused with 421."
        ),
    ] = ()
    port: Annotated[int, Meta(ge=0, le=65535, description="The port to listen on; 0 picks a free one.")] = 8443
    insecure: Annotated[bool, Meta(description="Plain http instead of TLS, on a loopback address only.")] = False
    app_id: Annotated[
        str, Meta(max_length=512, description="The UAF AppID. Empty: the URL of this server's facet list.")
    ] = ""
    facets: Annotated[
        tuple[str, ...],
        Meta(description="Facets that the facet list trusts. Empty: this server's origin and the lab phone's facet."),
    ] = ()
    uaf_versions: Annotated[
        tuple[ProtocolVersion, ...],
        Meta(
            min_length=1,
            description="UAF versions spoken: any of 1.0, 1.1 and 1.2, in which assertions are those of 1.1. A request"
            " holds a message of each, in this order.",
        ),
    ] = ("1.1",)
    dispatchers: Annotated[
        tuple[Dispatcher, ...], Meta(description=f"How tokens are delivered: any of {', '.join(get_args(Dispatcher))}.")
    ] = DISPATCHERS
    link_base_url: Annotated[
        str,
        Meta(
            min_length=1,
            description="What the link dispatchers' links begin with: it opens the phone's app. Where it is the https"
            " URL of this server's own page /link, that says what to do on a device without the app.",
        ),
    ] = DEFAULT_LINK_BASE_URL
    database: Annotated[
        str,
        Meta(
            description="Where the state is: sqlite:///PATH or postgresql://USER@HOST/NAME. Empty: server.sqlite in the"
            " home directory.",
            extra={"secret": True},
        ),
    ] = ""
    migrate: Annotated[
        bool,
        Meta(
            description="Bring a PostgreSQL database's tables up to date at each start, as `fidoloop server migrate`"
            " does; otherwise a database that is not is refused. A file's are always brought up to date."
        ),
    ] = False
    workers: Annotated[
        int,
        Meta(
            ge=1, le=256, description="So many processes serve, each on the same port; any of them takes any request."
        ),
    ] = 1
    log_format: Annotated[LogFormat, Meta(description="Log lines for people (plain) or for machines (json).")] = "plain"
    access_log: Annotated[bool, Meta(description="Log one line per request.")] = False
    channel_binding: Annotated[
        ChannelBindingMember,
        Meta(
            description="What of its TLS channel a UAF response must name: serverEndPoint, tlsServerCertificate, or"
            " nothing (off). Where it is not off, whatever a response says of its channel must be true."
        ),
    ] = "off"
    channel_binding_certificates: Annotated[
        tuple[str, ...],
        Meta(description="Certificates that clients see where a proxy ends TLS, PEM files. Empty: this server's own."),
    ] = ()
    require_key_attestation: Annotated[
        bool,
        Meta(
            description="Register only keys for which somebody vouches: by a full attestation, or by Android's key"
            " attestation where the model's metadata lists roots for it."
        ),
    ] = False
    metrics_access: Annotated[
        MetricsAccess,
        Meta(
            description="Who may read /metrics: loopback addresses and API credentials (loopback), the latter only"
            " (credential), everybody (open), nobody (off). What a proxy on this machine passes on counts as loopback"
            " unless it says so by Forwarded, X-Forwarded-For or X-Real-IP."
        ),
    ] = "loopback"
    docs: Annotated[bool, Meta(description="Whether /openapi.json and its page /docs are there.")] = True
    web: Annotated[bool, Meta(description="Whether the pages for browsers, from / on, are there.")] = True
    lab: Annotated[
        bool,
        Meta(
            description="Whether the lab console /lab is there: messages are recorded, and faults can be injected."
            " docs/lab-console.md."
        ),
    ] = False
    lab_anywhere: Annotated[
        bool,
        Meta(description="The lab console may be on although others than this machine can reach the server, by TLS."),
    ] = False
    drain_seconds: Annotated[
        int,
        _seconds(
            "When the server is stopped, it goes on so long, while /readyz says 503: for whoever spreads the load to"
            " notice. Connections are closed after their next answer meanwhile.",
            least=0,
        ),
    ] = 0
    stop_seconds: Annotated[
        int, _seconds("When the server is stopped, requests in flight and streams have so long to end.")
    ] = 10
    push_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=60,
            description="A push service has so long to take a push, repeated attempts included; so long the caller of"
            " a dispatch may have to wait.",
            extra={"unit": "seconds"},
        ),
    ] = 8
    connections: ConnectionSettings = msgspec.field(default_factory=ConnectionSettings)
    tls: Tls = msgspec.field(default_factory=Tls)
    lifetimes: Lifetimes = msgspec.field(default_factory=Lifetimes)
    web_push: WebPush = msgspec.field(default_factory=WebPush)
    fcm: Fcm = msgspec.field(default_factory=Fcm)
    oauth: OAuthSettings = msgspec.field(default_factory=OAuthSettings)
    fido2: Fido2 = msgspec.field(default_factory=Fido2)
    app_links: AppLinks = msgspec.field(default_factory=AppLinks)
    rate_limits: RateLimitSettings = msgspec.field(default_factory=RateLimitSettings)
