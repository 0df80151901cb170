"""The lab of one server: who may look, what was seen, and the sessions that faults may be injected into."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fidoloop.server.lab.access import Access
from fidoloop.server.lab.stories import Stories

MAX_LAB_SESSIONS: Final = 50
WAKE: Final = "lab"
"""What those who watch the lab wait for among the changes of sessions, whose ids are UUIDs."""


@dataclass(slots=True)
class LabSession:
    """A session made in the lab: the dispatch target it is for, and the faults that wait for their moment.

    `skew_minutes` shifts the clock of the request to be issued; `response` is the body that answered it, never shown;
    `on_response` is called with it, once.
    """

    id: str
    device: str | None
    skew_minutes: int = 0
    response: bytes | None = None
    on_response: Callable[[bytes], None] | None = None

    def answered(self, response: bytes) -> None:
        """Keep the response, and do what waits for it."""
        self.response = response
        waiting, self.on_response = self.on_response, None
        if waiting is not None:
            waiting(response)


@dataclass(slots=True)
class Lab:
    """All of it lives in the memory of this process, and ends with it."""

    access: Access = field(default_factory=Access)
    stories: Stories = field(default_factory=Stories)
    sessions: "OrderedDict[str, LabSession]" = field(default_factory=OrderedDict)

    def made(self, session: LabSession) -> None:
        """Keep that a session was made here; the oldest of too many becomes one like any other."""
        self.sessions[session.id] = session
        while len(self.sessions) > MAX_LAB_SESSIONS:
            self.sessions.popitem(last=False)
