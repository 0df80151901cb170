"""The devices that fixtures give."""

from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd
from fidoloop.swtpm import SoftwareTpm

__all__ = ["Factory", "InProcessDevice", "LabCard", "PrivatePcscd", "SoftwareTpm"]
