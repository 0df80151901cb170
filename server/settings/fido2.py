"""The settings of FIDO2: who the relying party is, and what it takes."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fidoloop.protocol.webauthn.algorithms import AlgorithmName
from fidoloop.protocol.webauthn.messages import Conveyance, UserVerification

Trust = Literal["open", "metadata"]
ClonePolicy = Literal["refuse", "report"]
BackupPolicy = Literal["allowed", "refused"]


class Fido2(msgspec.Struct, frozen=True):
    """`[server.fido2]` of the file."""

    rp_id: Annotated[
        str,
        Meta(max_length=253, description="The relying party id: a domain. Empty: the host of base_url."),
    ] = ""
    rp_name: Annotated[str, Meta(min_length=1, max_length=64, description="What authenticators call this server.")] = (
        "fidoloop"
    )
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Origins of pages and apps that credentials may be made and used from. Empty: that of base_url."
        ),
    ] = ()
    top_origins: Annotated[
        tuple[str, ...],
        Meta(description="Origins of pages that may embed those of `origins` in a frame. Empty: none may."),
    ] = ()
    user_verification: Annotated[
        UserVerification,
        Meta(
            description="The least user verification, whatever a request asks for: required, preferred or discouraged."
        ),
    ] = "preferred"
    attestation: Annotated[
        Conveyance,
        Meta(
            description="The attestation asked for where a request says nothing: none, indirect, direct or enterprise."
        ),
    ] = "none"
    trust: Annotated[
        Trust,
        Meta(
            description="Which authenticators are taken: any whose attestation verifies (open), or only models that the"
            " metadata vouches for (metadata)."
        ),
    ] = "open"
    algorithms: Annotated[
        tuple[AlgorithmName, ...],
        Meta(min_length=1, description="Signature algorithms of new credentials, the preferred one first."),
    ] = ("ES256", "EdDSA", "ES384", "ES512", "RS256", "PS256")
    clones: Annotated[
        ClonePolicy,
        Meta(
            description="What is done where a signature counter did not rise, as if there were a clone of the key:"
            " refuse, or report it in log and audit trail (report)."
        ),
    ] = "refuse"
    backup_eligible: Annotated[
        BackupPolicy,
        Meta(description="Whether credentials that may be on several devices are allowed or refused."),
    ] = "allowed"
