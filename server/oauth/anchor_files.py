"""PEM files of what is trusted, looked at again once a second: devices' roots, publishers of software statements."""

import logging
from pathlib import Path

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.anchors import MAX_PEM_BYTES, join_anchors, parse_anchors
from fidoloop.protocol.evidence.values import Anchors
from fidoloop.server.errors import ConfigError
from fidoloop.server.watched_files import WatchedFiles

_log = logging.getLogger("fidoloop.server.oauth")


class AnchorFiles:
    """The anchors of a directory; nothing is trusted where there is none."""

    def __init__(self, directory: Path) -> None:
        """Read the files. Raises ConfigError: one cannot be used."""
        self._files = WatchedFiles(directory, _read, _log, pattern="*.pem")
        try:
            self.anchors = join_anchors(_read(path) for path in sorted(directory.glob("*.pem")))
        except (MalformedError, OSError) as error:
            raise ConfigError(f"{directory}: {error}") from None

    def refresh(self, now: int) -> None:
        """Look at the files again; `now` is in epoch milliseconds."""
        if self._files.refresh(now):
            self.anchors = join_anchors(self._files.values().values())


def _read(path: Path) -> Anchors:
    with path.open("rb") as file:
        content = file.read(MAX_PEM_BYTES + 1)
    try:
        return parse_anchors(content)
    except ValueError as error:
        raise MalformedError(path.name, str(error)) from None
