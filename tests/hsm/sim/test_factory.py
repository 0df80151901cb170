import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.piv.state import CardStateError
from tests.hsm.sim.host import NOW


def test_a_factory_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = Factory.open(tmp_path / "factory", now=NOW)
    again = Factory.open(tmp_path / "factory", now=NOW + datetime.timedelta(days=1))
    assert again.certificate == first.certificate
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "factory").iterdir()}
    assert modes == {"factory-ca.pem": 0o644, "factory-ca.key": 0o600}


def test_every_card_has_a_serial_and_an_attestation_key_of_its_own() -> None:
    factory = Factory.create(now=NOW)
    cards = [factory.personalise(now=NOW) for _ in range(3)]
    assert len({card.serial for card in cards}) == len({card.keys[0xF9].private for card in cards}) == 3
    assert len({card.objects[0x5FC102] for card in cards}) == 3


def test_a_damaged_factory_is_refused_not_replaced(tmp_path: Path) -> None:
    Factory.open(tmp_path, now=NOW)
    key = tmp_path / "factory-ca.key"
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, what in ((pem, "do not match"), (b"", "damaged")):
        key.write_bytes(content)
        with pytest.raises(CardStateError, match=what):
            Factory.open(tmp_path, now=NOW)
        assert key.read_bytes() == content


@pytest.mark.parametrize("firmware", [(5, 7), (5, 7, 0, 1), (256, 0, 0), (-1, 0, 0)])
def test_a_version_is_three_bytes(firmware: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="version"):
        Factory.create(now=NOW).personalise(now=NOW, firmware=firmware)
