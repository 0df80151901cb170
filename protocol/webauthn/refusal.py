"""The one way a ceremony is refused: a rule of the specification, and what was found instead."""

from enum import StrEnum


class Rule(StrEnum):
    """Which check failed; beside each its step in WebAuthn Level 3, sections 7.1 (create) and 7.2 (get)."""

    MALFORMED = "malformed"  # create 5, 6, 13; get 8, 9: not readable as what it claims to be
    CREDENTIAL = "credential"  # get 5, 6: not one of the options', not known, or of another user
    USER_HANDLE = "user handle"  # get 6
    TYPE = "type"  # create 7, get 10
    CHALLENGE = "challenge"  # create 8, get 11
    ORIGIN = "origin"  # create 9, get 12
    CROSS_ORIGIN = "cross origin"  # create 10, get 13
    TOP_ORIGIN = "top origin"  # create 11, get 14
    RP_ID = "rp id"  # create 14, get 15
    USER_PRESENCE = "user presence"  # create 15, get 16
    USER_VERIFICATION = "user verification"  # create 16, get 17
    BACKUP_STATE = "backup state"  # create 17, get 18
    BACKUP_ELIGIBILITY = "backup eligibility"  # create 18, get 19
    ALGORITHM = "algorithm"  # create 20
    EXTENSIONS = "extensions"  # create 21, get 20
    FORMAT = "format"  # create 22
    ATTESTATION = "attestation"  # create 23
    STATUS = "status"  # create 24: the metadata's status reports forbid the model
    TRUST = "trust"  # create 25, 29
    CREDENTIAL_ID = "credential id"  # create 26, and that both places name the same
    REGISTERED = "registered"  # create 27
    SIGNATURE = "signature"  # get 22
    COUNTER = "counter"  # get 23


class WebAuthnRefusal(Exception):
    """A ceremony breaks `rule`; `detail` says how, and repeats nothing secret."""

    def __init__(self, rule: Rule, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail
