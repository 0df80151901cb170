"""Phones at the server under test."""

import contextlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fidoloop.api.keys import KeyStore, KeyStoreError, open_key_store
from fidoloop.api.phone import BridgeError, Form, Phone, ServerRefusedError, User, Verification, metadata_statements
from fidoloop.hsm.open import parse_key_store_uri
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.testing.messages import Messages
from fidoloop.testing.server import Enrol, Publish, ServerUnderTest

__all__ = ["PhoneMaker"]

_MODEL_NOT_KNOWN = (
    StatusCode.UNKNOWN_AAID,
    StatusCode.UNACCEPTABLE_AUTHENTICATOR,
    StatusCode.UNACCEPTABLE_ATTESTATION,
)
_KNOW_MODEL = (
    "Does it know the phone's model? --fidoloop-metadata names the directory it reads metadata statements from "
    "(fidoloop's own server: HOME/metadata, by default ~/.local/state/fidoloop/metadata)"
)
_numbers = itertools.count(1)


@dataclass
class Models:
    """Which models the server was told of in this test run."""

    publish: Publish
    _published: set[tuple[str, Verification, Form]] = field(default_factory=set)

    def make_known(self, store: KeyStore, verification: Verification, form: Form) -> None:
        """Tell the server of the models that phones on this token are, once."""
        asked = (store.info().serial + store.uri, verification, form)
        if asked not in self._published:
            self.publish(metadata_statements(store, verification=verification, form=form))
            self._published.add(asked)


@dataclass
class PhoneMaker:
    """Makes phones whose keys are in the key store `keys`, unless another is named; they and their keys go at the end.

    Every message of theirs is in `messages`.
    """

    server: ServerUnderTest
    keys: str
    directory: Path
    models: Models
    enrol: Enrol
    messages: Messages
    opened: contextlib.ExitStack

    def __call__(
        self,
        username: str | None = None,
        *,
        keys: str | None = None,
        user: User | None = None,
        verification: Verification = "pin",
        form: Form = Form.FIRST_FACTOR,
        facet_id: str = LAB_FACET_ID,
    ) -> Phone:
        """Return a new phone, enrolled for the user of that name, or not yet enrolled.

        Args:
            username: whom to enrol; None: nobody.
            keys: the URI of another key store, PIN included.
            user: who answers; None: somebody who knows the PIN and says yes.
            verification: how the user is verified.
            form: what the phone's authenticators are.
            facet_id: of the phone's app.
        """
        uri = keys or self.keys
        store = self.opened.enter_context(open_key_store(uri))
        self.models.make_known(store, verification, form)
        number = next(_numbers)
        phone = Phone.create(
            self.directory / f"phone-{number}.sqlite",
            store,
            user=user or User(pin=parse_key_store_uri(uri).pin()),
            verification=verification,
            ca=self.server.ca,
            form=form,
            facet_id=facet_id,
            recorder=self.messages.record,
        )
        self.opened.callback(self._leave, phone)
        if username is not None:
            self._enrol(phone, username, f"phone {number}")
        return phone

    def _enrol(self, phone: Phone, username: str, name: str) -> None:
        why = ""
        try:
            phone.register(self.enrol(username), server=self.server.url, target_name=name)
        except ServerRefusedError as refused:
            if self.server.local is not None or refused.status not in _MODEL_NOT_KNOWN:
                raise
            why = f"the server refused the registration: {refused}. {_KNOW_MODEL}"
        if why:
            pytest.fail(why, pytrace=False)

    def _leave(self, phone: Phone) -> None:
        """Close a phone and leave no key of it in the token: places are few on a card."""
        with phone:
            for account in phone.accounts():
                # What the server says then is no matter of the test that is over.
                with contextlib.suppress(BridgeError, KeyStoreError):
                    phone.remove(account)
