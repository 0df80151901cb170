"""The phone that is pushed to: it tells its servers where, and carries out what comes."""

import base64
import binascii
import hashlib
import time
from collections.abc import Callable

from fidoloop.bridge.errors import BridgeError, CannotDecryptError, MalformedPayloadError, ServerRefusedError
from fidoloop.bridge.phone import Phone, Result
from fidoloop.bridge.profile import Account
from fidoloop.bridge.push.queue import PushMessage
from fidoloop.bridge.push.subscriptions import PushSubscription
from fidoloop.protocol import base64url, web_push
from fidoloop.protocol.errors import MalformedError

DISPATCHER = "web-push"
MAX_LINE = 2 * web_push.MAX_BODY_BYTES
KEEP_SECONDS = 86_400


class PushReplayedError(BridgeError):
    """A push message has come before."""

    code = "push_replayed"


class PushReceiver:
    """Subscriptions of one phone, by their paths. Errors are BridgeError; KeyStoreError from the token."""

    def __init__(self, phone: Phone, *, clock: Callable[[], float] = time.time) -> None:
        """Take the phone; `clock` gives seconds since the epoch. Not safe between threads, as the phone is not."""
        self._phone = phone
        self._clock = clock
        self._subscribed: dict[str, PushSubscription] = {}

    def subscribe(self, account: Account, endpoint: Callable[[PushSubscription], str]) -> PushSubscription:
        """Have the account's dispatch target be pushed to at an endpoint; return the subscription.

        Raises:
            ServerRefusedError: the server does not push, or not there.
        """
        targets = self._phone.targets
        try:
            point = base64url.decode(targets.application_server_key(account))
            server_key = web_push.public_key_of(point)
        except MalformedError as error:
            raise ServerRefusedError(200, f"the server's push key: {error}") from None
        subscription = self._phone.subscriptions.make(account, server_key)
        targets.modify(account, dispatcher=DISPATCHER, address=subscription.at(endpoint(subscription)))
        self._subscribed[subscription.path] = subscription
        return subscription

    def follow(self, message: PushMessage) -> Result:
        """Carry out what a message holds, once.

        Raises:
            PushReplayedError: it has come before, were it before the phone was started.
        """
        subscription = self._subscribed[message.path]
        now = int(self._clock())
        if not self._phone.subscriptions.is_new(message.digest, until=message.until, now=now):
            raise PushReplayedError("the push message has come before: it is not followed again")
        try:
            text = message.plaintext.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedPayloadError("the push message is not UTF-8") from None
        return self._phone.take_push(subscription.account, text)

    def from_distributor(self, subscription: PushSubscription, line: str) -> PushMessage:
        """Return the message in a line of base64 (either alphabet) from a distributor, which has checked who pushed.

        Raises:
            MalformedPayloadError: no base64, or no push message; CannotDecryptError: for another subscription.
        """
        text = line.strip().replace("-", "+").replace("_", "/")
        if len(text) > MAX_LINE:
            raise MalformedPayloadError(f"a line of {len(text)} characters, at most {MAX_LINE} allowed")
        try:
            body = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
            plaintext = web_push.decrypt(body, subscription.key, subscription.auth)
        except (binascii.Error, ValueError) as error:
            if isinstance(error, web_push.PushRefusal):
                raise CannotDecryptError(str(error)) from None
            raise MalformedPayloadError(f"not a push message: {error}") from None
        digest = hashlib.sha256(body).digest()
        # It bears no date; whoever keeps one for longer replays a token that is long expired.
        until = int(self._clock()) + KEEP_SECONDS
        return PushMessage(subscription.path, plaintext, "", 0, digest, until)
