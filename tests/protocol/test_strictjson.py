import json
import time
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import SendUafResponse

TEXTS = st.text(max_size=6) | st.sampled_from(["a", "b", ':"', "\\", '":', "{", "[[", "\x7f", "é", "\U0001f600"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


class Inner(msgspec.Struct):
    a: int | UnsetType = UNSET


class Sample(msgspec.Struct):
    name: str
    number: int
    inner: Inner | UnsetType = UNSET


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def outcome(read: Any) -> tuple[str, object]:  # noqa: ANN401 - any callable
    try:
        return "value", read()
    except MalformedError:
        return "malformed", None


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_reading_undoes_writing(value: object, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if depth(value) <= strictjson.MAX_DEPTH:
        assert strictjson.loads(text) == value
        assert strictjson.loads(text.encode()) == value
        assert strictjson.decode(text, Any) == value
    assert json.loads(strictjson.encode(value)) == value


@given(
    st.one_of(
        VALUES.map(json.dumps),
        st.fixed_dictionaries({"name": TEXTS, "number": VALUES}, optional={"inner": VALUES, "x": VALUES}).map(
            json.dumps
        ),
        st.lists(
            st.sampled_from(
                [
                    '"',
                    "\\",
                    "{",
                    "}",
                    "[",
                    "]",
                    ":",
                    ",",
                    "a",
                    '"a"',
                    '"name":',
                    '"number":1',
                    "1",
                    ".5",
                    "e9",
                    "1e999",
                    "-",
                    "null",
                    "true",
                    "NaN",
                    "\\u0061",
                    "\\ud800",
                    "\n",
                    " ",
                    "\ufeff",
                    "é",
                    "\x00",
                ]
            ),
            max_size=14,
        ).map("".join),
    ),
    st.sampled_from([Any, Sample, int, float, str, list[Any], dict[str, Any], tuple[Sample], list[int]]),
)
def test_the_fast_reader_and_the_checking_one_agree(text: str, type_: Any) -> None:  # noqa: ANN401 - any type
    fast = outcome(lambda: strictjson.decode(text, type_))
    slow = outcome(lambda: strictjson.convert(strictjson.loads(text), type_))
    assert repr(fast) == repr(slow)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '{"a":{"b":1,"b":1}}',
        '[{"a":1},{"c":2,"c":2}]',
        '{"a":1,"a" : 2}',
        '{"a":1,\n"a"\t\r\n:2}',
        '{"a\\"":1,"a\\"":2}',
        '{"":1,"":2}',
        '{"é":1,"\\u00e9":2}',
    ],
)
def test_a_duplicate_member_is_refused_however_it_is_spelled(text: str) -> None:
    for read in (strictjson.loads, lambda data: strictjson.decode(data, Any)):
        with pytest.raises(MalformedError, match="duplicate"):
            read(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "nul",
        "NaN",
        "[Infinity]",
        "-Infinity",
        '{"a":NaN}',
        "1e400",
        "[-1e999]",
        "01",
        "[1,]",
        "{'a':1}",
        '"\x01"',
        '"\\x"',
        "\ufeff{}",
        '{"a":1}x',
        "9" * 5000,
        '"\\ud800"',
        '{"\\udfff":1}',
        '["\\ud800\\u0041"]',
        '"' + "\ud800" + '"',
    ],
)
def test_what_is_not_strict_json_is_malformed(text: str) -> None:
    for read in (strictjson.loads, lambda data: strictjson.decode(data, Any)):
        with pytest.raises(MalformedError):
            read(text)


@pytest.mark.parametrize("data", [b"\xff", b'"\xed\xa0\x80"', b'"\xc0\x80"', b"\xfe\xff\x00{"])
def test_invalid_utf_8_is_malformed(data: bytes) -> None:
    for read in (strictjson.loads, lambda data: strictjson.decode(data, Any)):
        with pytest.raises(MalformedError, match="UTF-8"):
            read(data)


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert strictjson.loads('"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded_exactly(opening: str, closing: str) -> None:
    def nested(levels: int) -> str:
        return opening * levels + "1" + closing * levels

    assert strictjson.loads(nested(strictjson.MAX_DEPTH))
    for levels in (strictjson.MAX_DEPTH + 1, 5000):
        for read in (strictjson.loads, lambda data: strictjson.decode(data, Any)):
            with pytest.raises(MalformedError, match="deeper"):
                read(nested(levels))


@pytest.mark.parametrize("type_", [Any, Sample, tuple[Sample], list[int]])
def test_depth_is_bounded_in_members_that_are_not_known_too(type_: Any) -> None:  # noqa: ANN401 - any type
    for levels in (17, 100_000):
        for text in ('{"name":"x","number":1,"x":' + "[" * levels + "]" * levels + "}", "[" * levels + "]" * levels):
            with pytest.raises(MalformedError):
                strictjson.decode(text, type_)


class Defaulted(msgspec.Struct):
    name: str
    other: str = "absent"


@pytest.mark.parametrize("text", ['{"name":"a","name":"b"}', '{"name":"a","other":"b","other":"c"}'])
def test_a_default_written_out_does_not_make_up_for_a_duplicate(text: str) -> None:
    with pytest.raises(MalformedError, match="duplicate"):
        strictjson.decode(text, Defaulted)


def test_brackets_inside_strings_and_beside_each_other_do_not_nest() -> None:
    value = ["[{" * 50, '"[' * 20, "\\[" * 20, *([{}] * 30)]
    assert strictjson.loads(json.dumps(value)) == value


def test_closing_brackets_inside_strings_do_not_hide_depth() -> None:
    with pytest.raises(MalformedError, match="deeper"):
        strictjson.loads('["]]]",' * 17 + "1" + "]" * 17)


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 16000 + "[" * 20, '"' + '\\"' * 16000 + "[" * 20 + "\\", '"\n' * 16000 + "[" * 20]
)
def test_an_endless_string_costs_no_more_than_its_length(text: str) -> None:
    started = time.process_time()
    with pytest.raises(MalformedError):
        strictjson.loads(text)
    # A scan that starts anew at each quote takes ten seconds for this; a linear one under ten milliseconds.
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"name":"x"}', "$"),
        ('{"name":1,"number":1}', "$.name"),
        ('{"name":null,"number":1}', "$.name"),
        ('{"name":"x","number":1,"inner":{"a":"1"}}', "$.inner.a"),
        ('{"name":"x","number":1,"inner":null}', "$.inner"),
    ],
)
def test_a_wrong_type_says_where(text: str, where: str) -> None:
    with pytest.raises(MalformedError) as fast:
        strictjson.decode(text, Sample)
    with pytest.raises(MalformedError) as slow:
        strictjson.convert(strictjson.loads(text), Sample)
    assert fast.value.where == slow.value.where == where
    with pytest.raises(MalformedError) as inside:
        strictjson.decode(text, Sample, "$.context")
    assert inside.value.where == where.replace("$", "$.context", 1)


@pytest.mark.parametrize(
    "text",
    [
        r'{"uafResponse":"a\"b","uafResponse":"c"}',
        r'{"uafResponse":"\u0022\u0022","uafResponse":"\u0022\u0022"}',
        r'{"uafResponse":"x","uafResponse":"\u0022\u0022\u0022\u0022"}',
        r'{"uafResponse":"x","\u0075afResponse":"\"\""}',
        r'{"uafResponse":"\\","uafResponse":"\\"}',
    ],
)
def test_escapes_do_not_hide_a_member_that_stands_twice(text: str) -> None:
    with pytest.raises(MalformedError, match="duplicate member"):
        strictjson.decode(text, SendUafResponse)


def test_a_text_with_escapes_is_read_as_json_reads_it() -> None:
    text = r'{"uafResponse":"[{\"a\":\"\\\\ \/ \n\"}]","context":"{\"b\":1}"}'
    assert strictjson.decode(text, SendUafResponse) == SendUafResponse('[{"a":"\\\\ / \n"}]', '{"b":1}')


@pytest.mark.parametrize("text", ['["s3cr3t"]', '["s3cr3t` - at `$"]', '["s3cr3t\\n"]'])
def test_a_value_that_is_none_of_those_allowed_is_not_repeated(text: str) -> None:
    with pytest.raises(MalformedError, match=r"^\$\[0\]: Invalid enum value$"):
        strictjson.decode(text, tuple[Literal["a", "b"], ...])
