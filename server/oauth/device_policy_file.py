"""The device policy in HOME/oauth/device-policy.json: looked at again once a second, everything denied without one."""

import logging
from pathlib import Path
from typing import Final

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.device_policy import DevicePolicy, parse_device_policy
from fidoloop.server.errors import ConfigError
from fidoloop.server.watched_files import WatchedFiles

NAME: Final = "device-policy"
MAX_BYTES: Final = 262_144
_NONE: Final = DevicePolicy([])
_log = logging.getLogger("fidoloop.server.oauth")


class DevicePolicyFile:
    """The policy in force. One that cannot be used stops the start; later it is reported and the one before stays."""

    def __init__(self, directory: Path) -> None:
        """Read the file. Raises ConfigError."""
        self._files = WatchedFiles(directory, _read, _log)
        path = directory / f"{NAME}.json"
        try:
            self.policy = _read(path) if path.exists() else _NONE
        except (MalformedError, OSError) as error:
            raise ConfigError(f"{path}: {error}") from None

    def refresh(self, now: int) -> None:
        """Look at the file again; `now` is in epoch milliseconds."""
        if self._files.refresh(now):
            self.policy = self._files.values().get(f"{NAME}.json", _NONE)


def _read(path: Path) -> DevicePolicy:
    if path.stem != NAME:
        return _NONE
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise MalformedError(path.name, f"more than {MAX_BYTES} bytes")
    return parse_device_policy(data)
