"""Every algorithm with every key format through HTTP: registered and used; an altered signature is neither (48)."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf import assertions
from fidoloop.protocol.uaf.registry import Algorithm, AttestationType, PublicKeyFormat
from tests.protocol.signers import ALGORITHM_AND_FORMAT, HASHES, key_of, keys_of, sign
from tests.server.harness import Bench, running
from tests.server.phone import HONEST, Phone, surrogate_model

POLICY = {
    "accepted": [
        [
            {
                "authenticationAlgorithms": sorted({algorithm for algorithm, _ in ALGORITHM_AND_FORMAT}),
                "assertionSchemes": ["UAFV1TLV"],
            }
        ]
    ]
}


class Signer:
    """A phone whose model makes keys of one algorithm and format."""

    def __init__(self, number: int, algorithm: int, key_format: int) -> None:
        self.model = surrogate_model(f"A1D0#{number:04X}")
        self.algorithm = algorithm
        self.key_format = key_format
        self.counter = 0

    def metadata(self) -> dict[str, Any]:
        return self.model.metadata(authenticationAlgorithm=self.algorithm, publicKeyAlgAndEncoding=self.key_format)

    def respond(self, request: dict[str, Any], *, key_id: bytes, altered: bool) -> dict[str, Any]:
        phone = Phone(self.model)
        header, fc_params = phone._frame(request, HONEST)
        shared: dict[str, Any] = {
            "aaid": self.model.aaid,
            "authenticator_version": 1,
            "signature_algorithm": self.algorithm,
            "final_challenge_hash": hashlib.new(HASHES[self.algorithm], fc_params.encode()).digest(),
            "key_id": key_id,
        }
        if request["header"]["op"] == "Reg":
            signed = assertions.encode_krd(
                **shared,
                public_key_format=self.key_format,
                sign_counter=0,
                registration_counter=1,
                public_key=keys_of(self.algorithm)[self.key_format],
            )
            data = assertions.encode_registration_assertion(
                signed, attestation_type=AttestationType.BASIC_SURROGATE, signature=self.signature(signed, altered)
            )
        else:
            self.counter += 1
            signed = assertions.encode_signed_data(
                **shared,
                authentication_mode=1,
                nonce=bytes(16),
                transaction_content_hash=b"",
                sign_counter=self.counter,
            )
            data = assertions.encode_authentication_assertion(signed, self.signature(signed, altered))
        return phone._message(header, fc_params, data, HONEST)

    def signature(self, signed: bytes, altered: bool) -> bytes:
        signature = sign(self.algorithm, key_of(self.algorithm), signed)
        return signature[:-1] + bytes([signature[-1] ^ altered])


async def statuses(bench: Bench, signer: Signer, number: int) -> list[int]:
    """Return the status codes of a registration and a log-in, each with its signature altered and honest."""
    key_id = hashlib.sha256(base64url.encode(bytes([number])).encode()).digest()
    found = []
    for op in ("Reg", "Auth"):
        for altered in (True, False):
            request = await bench.uaf_request(op, {"username": "jeff", "policy": "every"})
            answer = await bench.respond(op, signer.respond(request, key_id=key_id, altered=altered))
            found.append(int(answer["statusCode"]))
    return found


def test_48_each_algorithm_and_key_format_and_no_altered_signature(tmp_path: Path) -> None:
    signers = [Signer(number, *pair) for number, pair in enumerate(ALGORITHM_AND_FORMAT)]
    for directory in ("metadata", "policies"):
        (tmp_path / directory).mkdir()
    (tmp_path / "policies" / "every.json").write_text(json.dumps(POLICY))
    for number, signer in enumerate(signers):
        (tmp_path / "metadata" / f"{number}.json").write_text(json.dumps(signer.metadata()))

    async def scenario() -> None:
        async with running(tmp_path) as bench:
            found = {
                f"{Algorithm(signer.algorithm).name} {PublicKeyFormat(signer.key_format).name}": await statuses(
                    bench, signer, number
                )
                for number, signer in enumerate(signers)
            }
            assert found == {name: [1498, 1200, 1498, 1200] for name in found}
            assert len(found) == len(ALGORITHM_AND_FORMAT)

    asyncio.run(scenario())
