"""What is said of an inspected response: rules held against it one by one, told apart and not just applied."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import AssertionExtension, AuthenticationAssertion, RegistrationAssertion
from fidoloop.protocol.uaf.dissect_values import named
from fidoloop.protocol.uaf.extensions import UVM
from fidoloop.protocol.uaf.metadata import MetadataEntry
from fidoloop.protocol.uaf.registry import Algorithm, AuthenticationMode
from fidoloop.protocol.uaf.signatures import SUPPORTED
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.user_verification_methods import parse_user_verification_methods, verified_methods


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


class Check(msgspec.Struct, frozen=True):
    """One rule held against one assertion, or against the message."""

    name: str
    outcome: Outcome
    detail: str = ""


class AssertionReport(msgspec.Struct, frozen=True):
    """What one assertion says, by name, and its checks."""

    says: dict[str, Any]
    checks: tuple[Check, ...]


def checked(name: str, rule: Callable[[], object], detail: str = "") -> Check:
    """Return how `rule`, which raises UafRefusal or MalformedError, ended."""
    try:
        rule()
    except UafRefusal as refusal:
        unsupported = refusal.status is StatusCode.UNACCEPTABLE_ALGORITHM
        return Check(
            name, Outcome.FAILED, f"algorithm not supported: {refusal.detail}" if unsupported else refusal.detail
        )
    except MalformedError as error:
        return Check(name, Outcome.FAILED, error.what)
    return Check(name, Outcome.OK, detail)


def check_signature(name: str, algorithm: int, rule: Callable[[], object]) -> Check:
    """Return how `rule`, which verifies a signature of ALG_SIGN `algorithm`, ended."""
    if algorithm not in SUPPORTED:
        return Check(name, Outcome.FAILED, f"algorithm not supported: {named(Algorithm, algorithm)}")
    return checked(name, rule)


def said(assertion: RegistrationAssertion | AuthenticationAssertion) -> dict[str, Any]:
    """Return what both kinds of assertion say."""
    return {
        "aaid": assertion.aaid,
        "authenticatorVersion": assertion.authenticator_version,
        "authenticationMode": named(AuthenticationMode, assertion.authentication_mode),
        "signatureAlgorithm": named(Algorithm, assertion.signature_algorithm),
        "keyID": base64url.encode(assertion.key_id),
        "signCounter": assertion.sign_counter,
        "finalChallengeHash": base64url.encode(assertion.final_challenge_hash),
        "extensions": [
            {"id": extension.id, "data": base64url.encode(extension.data), "signed": extension.signed}
            for extension in assertion.extensions
        ],
    }


def check_methods(extensions: tuple[AssertionExtension, ...], entry: MetadataEntry | None) -> tuple[Check, ...]:
    """Return how the signed fido.uaf.uvm stands to its form, and to the model where that is known; none without one."""
    found = [extension for extension in extensions if extension.id == UVM and extension.signed]
    if not found:
        return ()
    if entry is not None:
        return (checked("user verification methods", lambda: verified_methods(found, entry.model_facts)),)
    return (checked("user verification methods", lambda: parse_user_verification_methods(found[0].data)),)


def find_model(models: dict[str, MetadataEntry] | None, aaid: str) -> tuple[MetadataEntry | None, tuple[Check, ...]]:
    """Return the metadata given for an AAID, and the check that fails where some is given, but not this one's."""
    entry = None if models is None else models.get(aaid)
    if models is not None and entry is None:
        return None, (Check("model", Outcome.FAILED, f"no metadata for {aaid}"),)
    return entry, ()
