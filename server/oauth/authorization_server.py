"""What the authorization server's services work with beside the environment: names, keys, nonces, the policy."""

from typing import Final

from fidoloop.protocol.oauth.server_nonces import EvidenceNonces, ServerNonces
from fidoloop.server.config import ServerConfig
from fidoloop.server.oauth.anchor_files import AnchorFiles
from fidoloop.server.oauth.device_policy_file import DevicePolicyFile
from fidoloop.server.oauth.key_ring import KeyRing
from fidoloop.server.watched_files import RELOAD_MILLIS

TOKEN: Final = "/token"  # noqa: S105 - a path
CHALLENGE: Final = "/challenge"
INTROSPECT: Final = "/introspect"
REVOKE: Final = "/revoke"
JWKS: Final = "/jwks"
API: Final = "/api"
REGISTER: Final = "/register"
PAR: Final = "/par"
AUTHORIZE: Final = "/authorize"
AUTHORIZE_CHALLENGE: Final = "/authorize-challenge"
AUTHZ_CHALLENGE: Final = "/authz-challenge"
"""The same service under the seed's name."""
ASSERTION_RESULT: Final = "/assertion/result"
ATTESTER_NONCE: Final = "/attester/nonce"
ATTEST: Final = "/attester/attest"


class AuthorizationServer:
    """The issuer: where it is, its keys and the attesters' that it trusts, its nonces, its device policy."""

    def __init__(self, config: ServerConfig, now: int) -> None:
        """Read keys and policy; `now` is in epoch milliseconds. Raises ConfigError."""
        self.issuer = config.base_url
        self.resource = config.base_url + API
        self.settings = config.oauth
        self.signing = KeyRing(config.oauth_directory, "as", now)
        self.attester = KeyRing(config.oauth_directory, "attester", now)
        self.device_policy = DevicePolicyFile(config.oauth_directory)
        self.anchors = AnchorFiles(config.oauth_directory / "anchors")
        self.software_publishers = AnchorFiles(config.oauth_directory / "software-publishers")
        self._looked_at = 0
        self._set_nonces()

    def refresh(self, now: int) -> None:
        """Take up changed keys and policy, at most once a second; `now` is in epoch milliseconds."""
        if 0 <= now - self._looked_at < RELOAD_MILLIS:
            return
        self._looked_at = now
        for watched in (self.device_policy, self.anchors, self.software_publishers):
            watched.refresh(now)
        self.attester.refresh(now)
        before = self.signing.public_keys().keys()
        self.signing.refresh(now)
        if self.signing.public_keys().keys() != before:
            self._set_nonces()

    def uri(self, path: str) -> str:
        """Return the URI of a service as clients see it, whatever Host says."""
        return self.issuer + path

    def _set_nonces(self) -> None:
        secrets = self.signing.secrets("nonces")
        self.nonces = ServerNonces(secrets, "dpop-nonce:as")
        self.resource_nonces = ServerNonces(secrets, "dpop-nonce:rs")
        self.challenges = ServerNonces(secrets, "attestation-challenge")
        self.evidence_nonces = EvidenceNonces(secrets)
