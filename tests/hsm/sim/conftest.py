import pytest

from fidoloop.hsm.sim.factory import Factory
from tests.hsm.sim.host import Host, new_host


@pytest.fixture
def host(fidoloop_card_factory: Factory) -> Host:
    """A new card, nothing entered."""
    return new_host(fidoloop_card_factory)


@pytest.fixture
def manager(host: Host) -> Host:
    """A new card whose management key was authenticated."""
    assert host.authenticate() == 0x9000
    return host
