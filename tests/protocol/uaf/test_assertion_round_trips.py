"""What is written is what is read, whatever the fields say."""

from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.uaf import assertions as a
from fidoloop.protocol.uaf.registry import AttestationType

AAIDS = st.from_regex(r"[0-9A-F]{4}#[0-9A-F]{4}", fullmatch=True)
SHORT, LONG = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@given(
    AAIDS,
    st.tuples(SHORT, SHORT, SHORT),
    st.tuples(LONG, LONG),
    st.lists(st.binary(max_size=100), min_size=4, max_size=7),
)
def test_a_registration_reads_back_whatever_it_says(
    aaid: str, numbers: tuple[int, int, int], counters: tuple[int, int], values: list[bytes]
) -> None:
    fc_hash_, key_id, public_key, signature, *certificates = values
    krd = a.encode_krd(
        aaid=aaid,
        authenticator_version=numbers[0],
        signature_algorithm=numbers[1],
        public_key_format=numbers[2],
        final_challenge_hash=fc_hash_,
        key_id=key_id,
        sign_counter=counters[0],
        registration_counter=counters[1],
        public_key=public_key,
    )
    found = a.parse_registration_assertion(
        a.encode_registration_assertion(
            krd,
            attestation_type=AttestationType.BASIC_FULL,
            signature=signature,
            certificates=tuple(certificates),
        )
    )
    assert (found.aaid, found.authentication_mode, found.krd) == (aaid, 1, krd)
    assert (found.authenticator_version, found.signature_algorithm, found.public_key_format) == numbers
    assert (found.sign_counter, found.registration_counter) == counters
    assert [found.final_challenge_hash, found.key_id, found.public_key, found.attestation_signature] == values[:4]
    assert found.attestation_certificates == tuple(certificates)


@given(
    AAIDS, st.tuples(SHORT, st.integers(0, 255), SHORT), LONG, st.lists(st.binary(max_size=100), min_size=5, max_size=5)
)
def test_an_authentication_reads_back_whatever_it_says(
    aaid: str, info: tuple[int, int, int], counter: int, values: list[bytes]
) -> None:
    signed = a.encode_signed_data(
        aaid=aaid,
        authenticator_version=info[0],
        authentication_mode=info[1],
        signature_algorithm=info[2],
        nonce=values[0],
        final_challenge_hash=values[1],
        transaction_content_hash=values[2],
        key_id=values[3],
        sign_counter=counter,
    )
    found = a.parse_authentication_assertion(a.encode_authentication_assertion(signed, values[4]))
    assert (found.aaid, found.sign_counter, found.signed_data) == (aaid, counter, signed)
    assert (found.authenticator_version, found.authentication_mode, found.signature_algorithm) == info
    read = [found.nonce, found.final_challenge_hash, found.transaction_content_hash, found.key_id, found.signature]
    assert read == values
