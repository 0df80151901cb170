"""Files that hold a secret, such as the code of a token: for their owner alone, and whole from the first moment."""

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600, in the place of one that is there. Raises OSError, with nothing half-written."""
    begun = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        begun.replace(path)
    except OSError:
        begun.unlink(missing_ok=True)
        raise
