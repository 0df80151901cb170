"""Usernameless authentication requests, written but for what is random: the message of most log-ins.

What a request looks like is said in `messages`; here it is encoded once for each policy, with marks where the random
values go, and cut at the marks.
"""

from typing import NamedTuple

from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.messages import ReturnUafRequest
from fidoloop.server.sessions import Issued

MARKS = Issued("<session>", "<challenge>", "<server data>")
"""What stands for the random values; none of these characters occurs in them or is escaped in JSON."""


class PreparedRequest(NamedTuple):
    """The pieces of a ReturnUAFRequest around serverData, session id and challenge."""

    start: str
    before_session: str
    before_challenge: str
    end: str

    @classmethod
    def cut(cls, returned: ReturnUafRequest) -> "PreparedRequest":
        """Cut `returned`, which was made of MARKS."""
        # Each mark where it stands first: what an operator's policy says comes after all of them.
        start, _, rest = strictjson.encode(returned).partition(MARKS.server_data)
        before_session, _, rest = rest.partition(MARKS.session_id)
        before_challenge, _, end = rest.partition(MARKS.challenge)
        return cls(start, before_session, before_challenge, end)

    def fill(self, issued: Issued) -> bytes:
        """Return the ReturnUAFRequest with the values of `issued`: base64url and a UUID, which need no escaping."""
        start, before_session, before_challenge, end = self
        return (
            f"{start}{issued.server_data}{before_session}{issued.session_id}{before_challenge}{issued.challenge}{end}"
        ).encode()
