"""What a PIV card knows about the running session only."""

from dataclasses import dataclass

from fidoloop.hsm.sim.apdu import ApduError, StatusWord
from fidoloop.hsm.sim.piv.registry import PinPolicy


@dataclass
class Session:
    """Security status (SP 800-73-4 part 1, 3.5) since the last reset."""

    pin_verified: bool = False
    pin_just_verified: bool = False
    """The PIN was verified by the command before this one: what "PIN always" wants."""
    management_authenticated: bool = False
    pending: "Pending | None" = None

    def require_management(self) -> None:
        """Refuse with 6982 unless the management key was authenticated."""
        if not self.management_authenticated:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)

    def require_pin(self, policy: PinPolicy) -> None:
        """Refuse with 6982 where a key's PIN policy is not met."""
        met = {PinPolicy.NEVER: True, PinPolicy.ONCE: self.pin_verified, PinPolicy.ALWAYS: self.pin_just_verified}
        if not met.get(policy, False):
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)

    def pin_entered(self) -> None:
        """Note that the PIN was right."""
        self.pin_verified = self.pin_just_verified = True

    def forget_pin(self) -> None:
        """Note that the PIN was wrong, or is no longer to count."""
        self.pin_verified = self.pin_just_verified = False


@dataclass(frozen=True)
class Pending:
    """What the card waits for in an authentication of the management key, and whether the host is to be answered."""

    expected: bytes
    mutual: bool
