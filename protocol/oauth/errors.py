"""The refusal of the OAuth rooms: an error code that has a name in an RFC or a draft, and words for people."""


class OAuthRefusal(ValueError):
    """Something is well formed or not, and is refused with an OAuth error code.

    `code` is what `error` says on the wire (`invalid_dpop_proof`, `use_attestation_challenge`, …); `what` says what is
    wrong, without secrets and without values from the input.
    """

    def __init__(self, code: str, what: str) -> None:
        super().__init__(f"{code}: {what}")
        self.code = code
        self.what = what
