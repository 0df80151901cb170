"""FCM at its network edge: a token service and messages:send, which check every field as Google documents it.

Google's "Using OAuth 2.0 for server to server applications"; Firebase's REST reference, v1, projects.messages.
"""

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fidoloop.protocol import base64url, jose
from tests.bridge.stub import Asked, Reply

PROJECT = "lab-project"
EMAIL = "fidoloop@lab-project.iam.gserviceaccount.com"
KEY_ID = "0123456789abcdef"
REGISTERED = "d7-Xk:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_RESERVED = re.compile(r"from|message_type|google.*|gcm.*")
_DURATION = re.compile(r"([0-9]+)(\.[0-9]{1,9})?s")
_MOST_SECONDS = 2_419_200


def service_account(path: Path, token_uri: str, /, **changes: object) -> Path:
    """Write the file of a service account and return its path."""
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": KEY_ID,
        "private_key": pem,
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": token_uri,
    }
    path.write_text(json.dumps({name: value for name, value in (account | changes).items() if value is not None}))
    return path


def failure(status: int, canonical: str, code: str = "", message: str = "no", **headers: str) -> Reply:
    """An error answer of FCM."""
    kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    details = [{"@type": kind, "errorCode": code}] if code else []
    error = {"code": status, "message": message, "status": canonical, "details": details}
    return _json(status, {"error": error}, **{name.replace("_", "-"): value for name, value in headers.items()})


def _json(status: int, value: object, **headers: str) -> Reply:
    body = json.dumps(value).encode()
    return Reply(status, {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers, body)


class InvalidArgument(Exception):
    pass


def need(condition: object, what: str) -> None:
    if not condition:
        raise InvalidArgument(what)


@dataclass
class Fcm:
    """Both services; `faults` are answered first, each once, by messages:send. `sent` is what was accepted."""

    url: str = ""
    faults: list[Reply] = field(default_factory=list)
    token_faults: list[Reply] = field(default_factory=list)
    granted: list[str] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    dry: list[bool] = field(default_factory=list)
    calls: int = 0

    def __call__(self, asked: Asked) -> Reply:
        try:
            if asked.path == "/token":
                return self._token(asked)
            need(asked.path == f"/v1/projects/{PROJECT}/messages:send", "path")
            return self._send(asked)
        except InvalidArgument as error:
            return failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", f"Invalid value at '{error}'")

    def _token(self, asked: Asked) -> Reply:
        if self.token_faults:
            return self.token_faults.pop(0)
        need(asked.headers["content-type"] == "application/x-www-form-urlencoded", "content-type")
        form = parse_qs(asked.body.decode("ascii"), strict_parsing=True)
        need(form.keys() == {"grant_type", "assertion"}, "form")
        need(form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "grant_type")
        (assertion,) = form["assertion"]
        head = json.loads(base64url.decode(assertion.partition(".")[0]))
        need(head == {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}, "header")
        claims = json.loads(jose.verify_compact(assertion, jose.public_jwk(KEY.public_key())))
        need(claims.keys() == {"iss", "scope", "aud", "iat", "exp"}, "claims")
        need(claims["iss"] == EMAIL and claims["aud"] == f"{self.url}/token", "iss, aud")
        need(claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging", "scope")
        need(abs(claims["iat"] - time.time()) < 300 and claims["exp"] - claims["iat"] <= 3600, "iat, exp")
        self.granted.append(f"ya29.token-{len(self.granted)}")
        return _json(200, {"access_token": self.granted[-1], "expires_in": 3599, "token_type": "Bearer"})

    def _send(self, asked: Asked) -> Reply:
        self.calls += 1
        if self.faults:
            return self.faults.pop(0)
        if not self.granted or asked.headers.get("authorization") != f"Bearer {self.granted[-1]}":
            return failure(401, "UNAUTHENTICATED")
        need(asked.headers["content-type"].partition(";")[0] == "application/json", "content-type")
        request = json.loads(asked.body)
        need(request.keys() <= {"message", "validate_only"}, "request")
        need(isinstance(request.get("validate_only", False), bool), "validate_only")
        check_message(request["message"])
        if request["message"]["token"] != REGISTERED:
            return failure(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found.")
        self.dry.append(request.get("validate_only", False))
        self.sent.append(request["message"])
        return _json(200, {"name": f"projects/{PROJECT}/messages/0:{self.calls}"})


def check_message(message: dict[str, Any]) -> None:
    """Hold a Message against the reference. Raises InvalidArgument."""
    need(
        message.keys() <= {"name", "data", "notification", "android", "webpush", "apns", "fcm_options", "token"}, "keys"
    )
    need(isinstance(message.get("token"), str) and message["token"], "message.token")
    data = message.get("data", {})
    for name, value in data.items():
        need(isinstance(value, str), f"message.data[{name}].value")
        need(not _RESERVED.fullmatch(name), f"message.data[{name}].key")
    need(sum(len(name) + len(value.encode()) for name, value in data.items()) <= 4096, "message too big")
    notification = message.get("notification", {})
    need(notification.keys() <= {"title", "body", "image"}, "message.notification")
    need(all(isinstance(value, str) for value in notification.values()), "message.notification")
    android = message.get("android", {})
    allowed = {"collapse_key", "priority", "ttl", "restricted_package_name", "data", "notification"}
    need(android.keys() <= allowed, "message.android")
    need(android.get("priority", "NORMAL") in ("NORMAL", "HIGH"), "message.android.priority")
    need(isinstance(android.get("collapse_key", ""), str), "message.android.collapse_key")
    ttl = _DURATION.fullmatch(android.get("ttl", "0s"))
    need(ttl and int(ttl.group(1)) <= _MOST_SECONDS, "message.android.ttl")
