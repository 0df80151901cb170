"""What the processes of a load tell each other: one JSON object a line."""

import msgspec

from fidoloop.bridge.load.flows import Kind
from fidoloop.bridge.load.twice import Twice
from fidoloop.protocol.lab import LAB_FACET_ID

GO, STOP = b"go\n", b"stop\n"
"""What a worker is told after its job: to begin, since all have enrolled; to end before its time."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does: the users are its own, the limits its share. Times are in seconds."""

    server: str
    usernames: tuple[str, ...]
    ca: str | None = None
    insecure: bool = False
    api_key: str | None = None
    kind: Kind = Kind.UAF
    dispatcher: str = "png-qr-code"
    policy: str | None = None
    facet_id: str = LAB_FACET_ID
    connections: int = 16
    seconds: float | None = 10.0
    count: int | None = None
    rate: float | None = None
    offset: float = 0.0
    timeout: float = 30.0
    twice: Twice | None = None
    keys: str | None = None
    pin: str | None = None
    deregister: bool = False


class Progress(msgspec.Struct, frozen=True, tag=True):
    """How many are done of what is under way; `phase` is "enrol", "run" or "deregister"."""

    phase: str
    done: int
    failed: int = 0


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The accounts are enrolled."""


class Counted(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often something happened at a service, and what was said the first time."""

    service: str
    kind: str
    count: int
    first: str = ""


class Result(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What came of the log-ins of one process; buckets are those of Latencies; `cpu_seconds` are its own."""

    seconds: float
    cpu_seconds: float
    latencies: dict[int, int]
    largest: float
    durations: dict[int, int]
    longest: float
    unbegun: int
    errors: tuple[Counted, ...]
    repeats: tuple[Counted, ...]
    accepted_twice: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The process gives up: an account could not be enrolled, or its token failed.

    `error` is the name of the error's class, `kind` and `service` what a Failure has.
    """

    error: str
    detail: str
    kind: str = ""
    service: str = ""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """Nothing more comes: what the deregistration could not do."""

    errors: tuple[Counted, ...] = ()


Event = Progress | Ready | Result | Failed | Ended
