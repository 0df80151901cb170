import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.models import token_statements
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import AutoApprove, UserVerifier
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.uaf import final_challenge
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.metadata import MetadataEntry, parse_metadata

APP_ID = "https://rp.example/facets"
FACET = "android:apk-key-hash:lab"
CHALLENGE = base64url.encode(bytes(range(64)))
FC_PARAMS = final_challenge.encode(final_challenge.FinalChallengeParams(APP_ID, CHALLENGE, FACET, ChannelBinding()))
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="session")
def bare_store(fidoloop_make_token: Callable[[], str]) -> Iterator[KeyStore]:
    """A token without an attestation key."""
    with open_key_store(fidoloop_make_token()) as store:
        yield store


@pytest.fixture(scope="session")
def uri(fidoloop_make_token: Callable[[], str]) -> str:
    return fidoloop_make_token()


@pytest.fixture(scope="session")
def store(uri: str) -> Iterator[KeyStore]:
    """A token with an attestation key."""
    with open_key_store(uri) as opened:
        attest_init(opened, now=NOW)
        yield opened


@pytest.fixture
def state(store: KeyStore, tmp_path: Path) -> Iterator[AuthenticatorState]:
    opened = AuthenticatorState(tmp_path / "phone.sqlite", store)
    yield opened
    opened.close()


@pytest.fixture
def asm(store: KeyStore, state: AuthenticatorState) -> Asm:
    return Asm(store, state, AutoApprove(), caller_id=FACET)


def asm_with(store: KeyStore, state: AuthenticatorState, verifier: UserVerifier) -> Asm:
    return Asm(store, state, verifier, caller_id=FACET)


def metadata_of(store: KeyStore, verifier: UserVerifier) -> dict[str, MetadataEntry]:
    """Metadata as the server would load it, from the statements this token's models export."""
    return {
        statement.aaid: parse_metadata(strictjson.encode(statement).encode())
        for statement in token_statements(store, verifier.method)
    }
