"""A server, a laptop and an enrolled phone for measuring log-ins, with their HTTP round trips counted."""

import datetime
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Row, milliseconds
from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.models import token_statements
from fidoloop.authenticator.user_verification import AutoApprove
from fidoloop.bridge.http import Exchange, Server
from fidoloop.bridge.laptop import Dispatched, Laptop
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.hsm.open import open_key_store
from fidoloop.lab import LabServer
from fidoloop.protocol.uaf.registry import UserVerification
from fidoloop.server.settings.layers import FILE_NAME
from fidoloop.softhsm import current_softhsm_directory, make_softhsm_token

LOGINS = 100
USERNAME = "alice"


@dataclass
class Loop:
    """A laptop and a phone of `USERNAME`, whose dispatch target is `target_id`; `directory` is for files."""

    laptop: Laptop
    phone: Phone
    target_id: str
    directory: Path
    exchanges: list[Exchange] = field(default_factory=list)

    def check(self, dispatched: Dispatched) -> None:
        """Raise RuntimeError where the log-in did not succeed."""
        if self.laptop.status(dispatched.session_id).status != "succeeded":
            raise RuntimeError("the log-in did not succeed")

    def rows(self, name: str, login: Callable[[], float], *, others: int = 0) -> list[Row]:
        """Return the rows of log-ins, each of which returns the milliseconds it took.

        `others` are the round trips of a log-in that neither laptop nor phone begins.
        """
        self.exchanges.clear()
        spent = [login() for _ in range(LOGINS)]
        return [
            *milliseconds(name, spent),
            Row(f"{name}-round-trips", round(len(self.exchanges) / LOGINS + others, 1), "HTTP round trips a log-in"),
        ]


@contextmanager
def lab_loop(settings: str = "") -> Iterator[Loop]:
    """Run the server in a process of its own, over TLS, and enrol a phone on a SoftHSM token.

    `settings` is the text of the server's fidoloop.toml.
    """
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name, ExitStack() as opened:
        directory = Path(name)
        softhsm = current_softhsm_directory() or directory / "softhsm"
        uri = make_softhsm_token(softhsm, f"bench-{directory.name[-8:]}", "123456", "123456")
        store = opened.enter_context(open_key_store(uri))
        attest_init(store, now=datetime.datetime.now(datetime.UTC))
        server = LabServer(directory / "home")
        server.home.mkdir()
        (server.home / FILE_NAME).write_text(settings, encoding="utf-8")
        server.add_metadata(token_statements(store, UserVerification.NONE))
        server.add_user(USERNAME)
        api_key = server.add_api_key()
        opened.enter_context(server)
        profile = Profile(directory / "phone.sqlite")
        opened.callback(profile.close)
        profile.create(keys_uri="pkcs11:", verification="auto", ca=str(server.ca))
        exchanges: list[Exchange] = []
        phone = opened.enter_context(
            Phone(profile, store, AutoApprove(), confirm=lambda _token: True, recorder=exchanges.append)
        )
        phone.register(server.enrol(USERNAME))
        connection = Server(server.url, ca=server.ca, api_key=api_key, recorder=exchanges.append)
        laptop = Laptop(opened.enter_context(connection))
        (target,) = laptop.targets(USERNAME)
        yield Loop(laptop, phone, target.id, directory, exchanges)
