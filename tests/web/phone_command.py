"""The phone as a user has it: `fidoloop phone`, in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

from fidoloop.hsm.uri import parse_uri
from tests.cli.command import Done, run
from tests.lab import SOFTHSM_PIN, Lab


@dataclass
class PhoneCommand:
    """`fidoloop phone` with a home of its own, its keys in `token`."""

    lab: Lab
    home: Path
    token: str

    def __call__(self, *words: str) -> Done:
        return run("phone", *words, "--home", str(self.home), "--yes", pin=SOFTHSM_PIN)

    def register(self, source: str) -> Done:
        keys = parse_uri(self.token).without_pin()
        server = ("--ca", str(self.lab.server.ca), "--server", self.lab.server.url)
        return self("register", source, "--keys", keys, *server)

    def enrolled(self) -> str:
        """Enrol for a new user and return the name."""
        username = self.lab.new_user()
        done = self.register(self.lab.server.enrol(username))
        assert done.code == 0, done.all
        return username
