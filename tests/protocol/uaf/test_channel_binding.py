import pytest

from fidoloop.protocol.uaf.channel_binding import ChannelBinding, check_channel_binding
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

MEMBERS = ("serverEndPoint", "tlsServerCertificate", "tlsUnique", "cid_pubkey")


def test_nothing_configured_accepts_every_channel() -> None:
    for found in (ChannelBinding(), ChannelBinding(serverEndPoint="x", cid_pubkey="unused")):
        check_channel_binding(found, None)
        check_channel_binding(found, ChannelBinding())


@pytest.mark.parametrize("member", MEMBERS)
def test_an_expected_member_must_be_there_and_equal(member: str) -> None:
    expected = ChannelBinding(**{member: "right"})
    check_channel_binding(expected, expected)
    check_channel_binding(ChannelBinding(**dict.fromkeys(MEMBERS, "right")), expected)
    for found in (ChannelBinding(), ChannelBinding(**{member: "wrong"}), ChannelBinding(**{member: "right "})):
        with pytest.raises(UafRefusal, match=member) as caught:
            check_channel_binding(found, expected)
        assert caught.value.status is StatusCode.CHANNEL_BINDING_REFUSED


def test_one_member_does_not_stand_in_for_another() -> None:
    with pytest.raises(UafRefusal):
        check_channel_binding(ChannelBinding(tlsUnique="x"), ChannelBinding(serverEndPoint="x"))


def test_text_that_is_not_ascii_is_compared_not_failed_on() -> None:
    with pytest.raises(UafRefusal):
        check_channel_binding(ChannelBinding(tlsUnique="é"), ChannelBinding(tlsUnique="x"))
