"""WebAuthn Level 3 for a relying party: registration (7.1) and authentication (7.2)."""

from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.protocol.webauthn.messages import AuthenticationCredential, RegistrationCredential
from fidoloop.protocol.webauthn.models import AuthenticatorModel, ModelLookup
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.protocol.webauthn.trust import TrustPolicy
from fidoloop.protocol.webauthn.verify_authentication_response import (
    Assertion,
    AuthenticationExpectations,
    CredentialRecord,
    verify_authentication_response,
)
from fidoloop.protocol.webauthn.verify_registration_response import (
    RegisteredCredential,
    RegistrationExpectations,
    verify_registration_response,
)

__all__ = [
    "Assertion",
    "AuthenticationCredential",
    "AuthenticationExpectations",
    "AuthenticatorModel",
    "CredentialRecord",
    "ModelLookup",
    "RegisteredCredential",
    "RegistrationCredential",
    "RegistrationExpectations",
    "RelyingParty",
    "Rule",
    "TrustPolicy",
    "WebAuthnRefusal",
    "verify_authentication_response",
    "verify_registration_response",
]
