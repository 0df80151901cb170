"""The out-of-band payload of a token (HTTP contract 9)."""

from typing import Any

from fidoloop.protocol import outofband
from fidoloop.protocol.channel_linking import ChannelLinkingDemand
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.uaf.messages import Operation
from fidoloop.server.config import CONTEXT_PATH, ServerConfig
from fidoloop.server.contexts import OPERATIONS

_NAMES = {op: name for name, op in OPERATIONS.items()}


def make_payload(
    config: ServerConfig,
    *,
    op: Operation,
    token: str,
    recipient: PublicJwk | None,
    address: str,
    user_agent: str,
    extra: dict[str, Any] | None = None,
    linking: ChannelLinkingDemand | None = None,
) -> str:
    """Return the payload's JSON text, encrypted to `recipient` where there is one.

    `address` and `user_agent` tell the phone who asked, `linking` what it must answer; `extra`
    (dispatchInformation.data) never replaces ours.
    """
    data: dict[str, Any] = {
        **{name: value for name, value in (extra or {}).items() if name != "channelLinking"},
        "token": token,
        "redeem_url": f"{config.base_url}{CONTEXT_PATH}/token/redeem/{_NAMES[op]}",
        "requestContext": {"address": address, "userAgent": user_agent},
    }
    if linking is not None:
        data["channelLinking"] = linking
    return outofband.encode_payload(data, recipient)
