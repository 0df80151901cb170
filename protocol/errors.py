"""The one error that malformed input raises, whatever its encoding."""


class MalformedError(ValueError):
    """Input cannot be read as what it claims to be.

    `where` is a path into the input (`$.header.upv`, `UAFV1_REG_ASSERTION/UAFV1_KRD/AAID`), `what` says what is
    wrong there. Neither carries values from the input beyond names and sizes.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what
