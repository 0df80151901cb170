"""A lab of the tests: a server process, a token, phones and a laptop, with every part of them at hand."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fidoloop.authenticator.card_authenticator import CardAuthenticator
from fidoloop.authenticator.models import Form, adopted_models, metadata_statement, token_statements
from fidoloop.authenticator.user_verification import TokenPin, UserVerifier
from fidoloop.bridge.http import Server
from fidoloop.bridge.inbox import DispatchedToken
from fidoloop.bridge.laptop import Laptop
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.uri import parse_uri
from fidoloop.lab import LabServer
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf.metadata import MetadataStatement
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, Algorithm, AttestationType, UserVerification
from fidoloop.server.settings.layers import FILE_NAME
from fidoloop.testing.tokens import SOFTHSM_PIN, TPM_PIN

__all__ = ["NSS_PIN", "SOFTHSM_PIN", "SURROGATE_POLICY", "TPM_PIN", "Lab", "running_lab"]

NSS_PIN = "161803"
SURROGATE_POLICY = "surrogate_only"
"""A policy of the lab server beside those it ships: surrogate attestation and nothing else."""

_SURROGATE = MatchCriteria(
    authenticationAlgorithms=(int(Algorithm.SECP256R1_ECDSA_SHA256_RAW),),
    assertionSchemes=(ASSERTION_SCHEME,),
    attestationTypes=(int(AttestationType.BASIC_SURROGATE),),
)
_METHODS = {
    "pin": UserVerification.PASSCODE,
    "prompt": UserVerification.PRESENCE,
    "auto": UserVerification.NONE,
}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Lab:
    """A running server that knows the metadata of `store`'s token, and the token."""

    server: LabServer
    store: KeyStore
    api_key: str
    laptop: Laptop
    directory: Path
    opened: contextlib.ExitStack

    def new_user(self) -> str:
        """Add a user with a name of its own and return it."""
        username = f"user-{next(_numbers)}"
        self.server.add_user(username)
        return username

    def phone(
        self,
        *,
        verification: str = "pin",
        verifier: UserVerifier | None = None,
        confirm: Callable[[DispatchedToken], bool] = lambda _token: True,
        profile: Profile | None = None,
        facet_id: str | None = None,
        form: Form = Form.FIRST_FACTOR,
        cards: Sequence[CardAuthenticator] = (),
    ) -> Phone:
        """Return a phone that is not enrolled yet; its user types the token's PIN unless `verifier` says otherwise."""
        if profile is None:
            profile = Profile(self.directory / f"phone-{next(_numbers)}.sqlite")
            self.opened.callback(profile.close)
            uri = parse_uri("pkcs11:").without_pin()
            profile.create(
                keys_uri=uri,
                verification=verification,
                ca=str(self.server.ca),
                facet_id=facet_id or LAB_FACET_ID,
                form=form,
            )
        user = verifier or TokenPin(self.store, lambda _request, _tries: SOFTHSM_PIN)
        phone = Phone(profile, self.store, user, confirm=confirm, cards=cards)
        self.opened.callback(phone.close)
        return phone

    def enrolled(self, **options: Any) -> tuple[Phone, str]:  # noqa: ANN401 - options of `phone`
        """Return a phone enrolled for a new user, and the user's name."""
        username = self.new_user()
        phone = self.phone(**options)
        phone.register(self.server.enrol(username), server=self.server.url, target_name=f"{username}'s phone")
        return phone, username


@contextlib.contextmanager
def running_lab(
    token: str,
    directory: Path,
    *,
    settings: str = "",
    ca: Path | None = None,
    policies: Mapping[str, Policy] = MappingProxyType({}),
    forms: Sequence[Form] = (Form.FIRST_FACTOR,),
    metadata: Sequence[MetadataStatement] = (),
) -> Iterator[Lab]:
    """Run a lab in `directory` on the `token` of a URI.

    `settings` is the text of its fidoloop.toml, `ca` the CA that phone and laptop trust in the place of the lab's own,
    `policies` are named ones beside those it has anyway, `forms` those of the models that it knows,
    `metadata` that of others.
    """
    server = LabServer(directory / "home")
    server.home.mkdir(parents=True)
    (server.home / FILE_NAME).write_text(settings, encoding="utf-8")
    with contextlib.ExitStack() as opened:
        store = opened.enter_context(open_key_store(token))
        for method in _METHODS.values():
            for form in forms:
                server.add_metadata(token_statements(store, method, form))
            server.add_metadata([metadata_statement(model, ()) for model in adopted_models(method)])
        server.add_metadata(metadata)
        for name, policy in {SURROGATE_POLICY: Policy(accepted=((_SURROGATE,),)), **policies}.items():
            server.add_policy(name, policy)
        api_key = server.add_api_key()
        opened.enter_context(server)
        server.ca = ca or server.ca
        connection = opened.enter_context(Server(server.url, ca=server.ca, api_key=api_key))
        yield Lab(server, store, api_key, Laptop(connection), directory, opened)
