"""What ends a ceremony besides a broken rule of the specification (protocol.webauthn.refusal)."""


class Fido2Error(Exception):
    """Base of the family; the text may be shown to the caller."""


class UnknownUserError(Fido2Error):
    """The user that is to be enrolled does not exist, is disabled, or is not the caller's to enrol."""


class ElsewhereError(Fido2Error):
    """The result comes from another than the one whose options they were."""
