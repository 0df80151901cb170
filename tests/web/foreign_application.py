"""A stranger's web application: pages of its own on another site, requests-oauth2client for all of OAuth."""

import queue
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
import requests_oauth2client as oauth
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwskate import Jwk

from fidoloop.protocol import base64url, jose
from fidoloop.protocol.evidence.token_claims import TokenClaims, token_claims_evidence
from fidoloop.protocol.evidence.values import Evidence
from fidoloop.protocol.oauth.device_evidence import make_device_evidence
from tests.lab import Lab

NAME = "A stranger's app"
RULE = {
    "name": "any",
    "tiers": ["unattested"],
    "grants": {"acr": ["uaf", "fido2"], "scopes": ["openid", "api"]},
}


class Pages:
    """The application's pages: one with a link to the server, and the one that the browser comes back to."""

    def __init__(self) -> None:
        self.link = ""
        self.came_back: queue.Queue[str] = queue.Queue()
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/callback"):
                    pages.came_back.put(self.path)
                text = f'<link rel="icon" href="data:,"><a id="log-in" href="{escape(pages.link)}">Log in</a>'
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Application:
    """The application, registered by evidence about its key, which it authenticates by (private_key_jwt)."""

    def __init__(self, lab: Lab, pages: Pages) -> None:
        self.pages = pages
        self.redirect_uri = f"{pages.url}/callback"
        metadata = f"{lab.server.url}/.well-known/oauth-authorization-server"
        key = ec.generate_private_key(ec.SECP256R1())
        jwk = Jwk.from_cryptography_key(key).with_kid_thumbprint()
        self.session = session = requests.Session()
        session.trust_env = False  # whose REQUESTS_CA_BUNDLE would win
        session.verify = str(lab.server.ca)
        self.client = oauth.OAuth2Client.from_discovery_document(
            session.get(metadata).json(),
            issuer=lab.server.url,
            auth=oauth.PrivateKeyJwt(self._registered(lab, key), jwk, alg="ES256", aud=lab.server.url),
            redirect_uri=self.redirect_uri,
            session=session,
            dpop_bound_access_tokens=True,
            testing=True,  # a server on the loopback
        )

    def _registered(self, lab: Lab, key: ec.EllipticCurvePrivateKey) -> str:
        url = f"{lab.server.url}/register"
        body: dict[str, Any] = {
            "client_name": NAME,
            "redirect_uris": [self.redirect_uri],
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [jose.public_jwk(key.public_key()).members]},
        }
        nonce = self.session.post(url, json=body).json()["nonce"]
        token = make_device_evidence(
            key,
            _claims(key, nonce),
            nonce=nonce,
            audience=url,
            now=int(time.time()),
            token_id=secrets.token_urlsafe(16),
            app_name=NAME,
        )
        answer = self.session.post(url, json=body | {"evidence": token})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["client_id"])

    def asking(self, **more: Any) -> oauth.AuthorizationRequest:  # noqa: ANN401 - any parameter
        """Return a new request, with PKCE and a DPoP key of its own."""
        return self.client.authorization_request(scope="openid api", **more)

    def answered(self, request: oauth.AuthorizationRequest) -> oauth.AuthorizationResponse:
        """Return what the browser brought back, checked: state and issuer. Raises what the library has for errors."""
        return request.validate_callback(f"{self.pages.url}{self.pages.came_back.get(timeout=30)}")


def _claims(key: ec.EllipticCurvePrivateKey, nonce: str) -> Evidence:
    """Return what a software token says of a key, which is worth nothing; the lab's policy takes it."""
    claims = TokenClaims(
        spki=base64url.encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        token_kind="softhsm",
        manufacturer="SoftHSM project",
        model="SoftHSM v2",
        serial="1",
        firmware="2.6",
        sensitive=False,
        extractable=True,
        never_extractable=False,
        local=True,
        purposes=("sign",),
    )
    return token_claims_evidence(claims, nonce=base64url.decode(nonce), key=key)


@contextmanager
def application(lab: Lab) -> Iterator[Application]:
    """Run the application's pages, and register it."""
    lab.server.write_device_policy([RULE])
    pages = Pages()
    try:
        yield Application(lab, pages)
    finally:
        pages.close()
