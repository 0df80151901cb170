"""A phone in a process of its own, which kills itself (SIGKILL) at one step of an operation: nothing is cleaned up."""

import json
import os
import signal
import sys
from pathlib import Path

from fidoloop.authenticator.card_authenticator import CardAuthenticator, UafCardUser
from fidoloop.authenticator.user_verification import AutoApprove, TokenPin
from fidoloop.bridge.http import Exchange
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.uaf_card import UafCard


def main() -> None:
    told = json.loads(sys.argv[1])
    step: str = told["step"]

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def observe(name: str, detail: str) -> None:
        if name == step:
            die()

    def record(exchange: Exchange) -> None:
        # The server has answered, and nothing of that was kept yet.
        answered = {"redeeming": "/token/redeem/", "sent": f"/uaf/1.1/{told['operation']}"}.get(step)
        if answered is not None and answered in exchange.path:
            die()

    def confirm(_: object) -> bool:
        if step == "confirming":
            die()
        return True

    profile = Profile(Path(told["profile"]))
    with open_key_store(told["token"]) as store:
        verifier = AutoApprove() if told["verification"] == "auto" else TokenPin(store, lambda *_: told["pin"])
        cards: list[CardAuthenticator] = []
        if told.get("reader"):
            cards = UafCardUser(UafCard(told["reader"]), lambda *_: told["pin"], lambda _: 0).authenticators()
        with Phone(profile, store, verifier, confirm=confirm, observer=observe, recorder=record, cards=cards) as phone:
            if told["operation"] == "registration":
                phone.register(told["text"])
            else:
                phone.scan(told["text"])


main()
