"""What the lab has seen: per session its changes of state and the messages that crossed, in the memory of this process.

Bounded: what is too much pushes out the oldest session.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.server.lab.redaction import Json

MAX_STORIES: Final = 200
MAX_ENTRIES: Final = 100
"""Of one session; what comes after is counted, not kept."""
MAX_CHARACTERS: Final = 8_000_000
MAX_MESSAGE_CHARACTERS: Final = 48_000
MAX_REQUESTS: Final = 1000
NO_SESSION: Final = ""
"""The id of the story of messages that belong to no session; its oldest entries go first."""


class Message(msgspec.Struct, frozen=True, tag_field="kind", tag="message", omit_defaults=True):
    """A request and its answer, redacted; `times`: it crossed so often, one after the other. `note` is the lab's."""

    at: int
    method: str
    path: str
    status: int
    request: Json
    answer: Json
    note: str = ""
    times: int = 1


class Change(msgspec.Struct, frozen=True, tag_field="kind", tag="change", omit_defaults=True):
    """A state a session came into; the codes are those of its Status, where it has them."""

    at: int
    state: str
    uafStatusCode: int | None = None
    asmStatusCode: int | None = None
    clientErrorCode: int | None = None


class Fault(msgspec.Struct, frozen=True, tag_field="kind", tag="fault"):
    """A fault that was injected, and what is to be seen if all is well."""

    at: int
    fault: Literal["expiredToken", "wrongKey", "replay", "clockSkew"]
    words: str


Entry = Message | Change | Fault


@dataclass(slots=True)
class Story:
    """The entries of a session in their order; `dropped` are those that there was no room for."""

    entries: list[Entry] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    dropped: int = 0

    @property
    def length(self) -> int:
        """How many entries there were, the dropped ones included."""
        return len(self.entries) + self.dropped

    @property
    def changes(self) -> tuple[Change, ...]:
        """The states the session came into."""
        return tuple(entry for entry in self.entries if isinstance(entry, Change))


class Stories:
    """All stories."""

    def __init__(self) -> None:
        self._stories: OrderedDict[str, Story] = OrderedDict()
        self._characters = 0
        self._requests: OrderedDict[str, str] = OrderedDict()

    def of(self, session_id: str) -> Story:
        """Return the story of a session, an empty one where nothing was seen."""
        return self._stories.get(session_id) or Story()

    def request_seen(self, server_data: str, session_id: str) -> None:
        """Keep which session's request has this serverData: its response names nothing else."""
        self._requests[server_data] = session_id
        while len(self._requests) > MAX_REQUESTS:
            self._requests.popitem(last=False)

    def session_of_request(self, server_data: str) -> str | None:
        """Return whose request had this serverData."""
        return self._requests.get(server_data)

    def add_message(self, session_id: str, message: Message) -> None:
        """Add a message; the same again, as by a client that asks for a status, is only counted."""
        size = len(strictjson.encode(message))
        if size > MAX_MESSAGE_CHARACTERS:
            cut = f"[too large to be kept: {size} characters]"
            message, size = msgspec.structs.replace(message, request=cut, answer=cut), 2 * len(cut)
        story = self._story(session_id)
        last = story.entries[-1] if story.entries else None
        if isinstance(last, Message) and _is_same(last, message):
            story.entries[-1] = msgspec.structs.replace(last, times=last.times + 1)
            return
        self._add(session_id, story, message, size)

    def add_change(self, session_id: str, change: Change) -> None:
        """Add a change of state, unless the session is in that state already."""
        story = self._story(session_id)
        changes = story.changes
        if not changes or changes[-1].state != change.state:
            self._add(session_id, story, change, len(change.state))

    def add_fault(self, session_id: str, fault: Fault) -> None:
        """Add a fault."""
        self._add(session_id, self._story(session_id), fault, len(fault.words))

    def _story(self, session_id: str) -> Story:
        return self._stories.setdefault(session_id, Story())

    def _add(self, session_id: str, story: Story, entry: Entry, size: int) -> None:
        if len(story.entries) >= MAX_ENTRIES:
            story.dropped += 1
            if session_id != NO_SESSION:
                return
            del story.entries[0]
            self._characters -= story.sizes.pop(0)
        story.entries.append(entry)
        story.sizes.append(size)
        self._characters += size
        while len(self._stories) > MAX_STORIES or self._characters > MAX_CHARACTERS:
            _, oldest = self._stories.popitem(last=False)
            self._characters -= sum(oldest.sizes)


def _is_same(one: Message, other: Message) -> bool:
    return (one.method, one.path, one.status, one.request, one.answer, one.note) == (
        other.method,
        other.path,
        other.status,
        other.request,
        other.answer,
        other.note,
    )
