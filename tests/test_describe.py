"""Descriptions of values: what they show, that they are one bounded line, and that they run nothing."""

import unicodedata
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from grader.comparison.describe import call, full, pair, short
from grader.sandbox.plain import NamedDict, NamedInt, NamedStr, NamedTuple, Record
from grader.sandbox.servant import Report


def branded(brand: Any, value: Any, name: str, **attributes: Any) -> Any:
    """A subclass instance as the wire delivers it."""
    made = brand(value)
    for key, attribute in (attributes | {"type_name": name}).items():
        setattr(made, key, attribute)
    return made


class Stranger:
    """Like a handle: every attribute would be a call."""

    type_name = "GPT"

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{name} was asked for")


def reward(text: str) -> float:
    return float(len(text))


SHORT = [
    pytest.param(None, "None", id="none"),
    pytest.param(True, "True", id="bool"),
    pytest.param(-7, "-7", id="int"),
    pytest.param(1 << 899, "int of 900 bits", id="a huge int"),
    pytest.param(200.0, "200.0", id="a whole float"),
    pytest.param(0.123456789, "0.123457", id="six digits"),
    pytest.param(1e-9, "1e-09", id="a small float"),
    pytest.param(float("-inf"), "-inf", id="inf"),
    pytest.param(float("nan"), "nan", id="nan"),
    pytest.param(1 - 2.5j, "1-2.5j", id="complex"),
    pytest.param(np.float32(0.5), "np.f32 scalar 0.5", id="NumPy scalar"),
    pytest.param(np.array(7), "np.i64 scalar 7", id="NumPy array of no dimension"),
    pytest.param(np.str_("a"), "'a'", id="NumPy string"),
    pytest.param(torch.tensor(0.6931), "f32 scalar 0.6931", id="tensor of no dimension"),
    pytest.param(torch.tensor(1.5).requires_grad_(), "f32 scalar 1.5", id="a leaf"),
    pytest.param(torch.zeros(2, 3), "f32[2, 3] = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]", id="six elements"),
    pytest.param(torch.zeros(7), "f32[7]", id="seven elements"),
    pytest.param(torch.zeros(0, 3), "f32[0, 3]", id="empty tensor"),
    pytest.param(torch.ones(2, dtype=torch.bfloat16), "bf16[2] = [1.0, 1.0]", id="bfloat16"),
    pytest.param(torch.ones(2, dtype=torch.float8_e4m3fn), "f8_e4m3fn[2] = [1.0, 1.0]", id="float8"),
    pytest.param(torch.tensor([True, False]), "bool[2] = [True, False]", id="mask"),
    pytest.param(torch.tensor([3, 4]), "i64[2] = [3, 4]", id="int tensor"),
    pytest.param(torch.empty(7, device="meta"), "f32[7] on meta", id="another device"),
    pytest.param(np.zeros((3, 200)), "np.f64[3, 200]", id="large array"),
    pytest.param(np.array(["ab", "c"]), "np.str[2] = ['ab', 'c']", id="strings"),
    pytest.param(np.array([object()]), "np.object[1] = …", id="array of objects"),
    pytest.param(np.uint8([1]), "np.u8[1] = [1]", id="unsigned"),
    pytest.param("a\nb", "'a\\nb'", id="string"),
    pytest.param(b"\x00a", "b'\\x00a'", id="bytes"),
    pytest.param([1, 2.5, "x"], "[1, 2.5, 'x']", id="list"),
    pytest.param((1,), "(1,)", id="a tuple of one"),
    pytest.param((), "()", id="empty tuple"),
    pytest.param({"loss": torch.zeros(4)}, "{'loss': f32[4]}", id="dict"),
    pytest.param({3, 1, 2}, "{1, 2, 3}", id="set"),
    pytest.param(set(), "set()", id="empty set"),
    pytest.param(frozenset({1}), "frozenset({1})", id="frozenset"),
    pytest.param([[[[[1]]]]], "[[[[…]]]]", id="deep"),
    pytest.param(range(3), "range(0, 3)", id="range"),
    pytest.param(slice(1, None), "slice(1, None, None)", id="slice"),
    pytest.param(..., "Ellipsis", id="ellipsis"),
    pytest.param(torch.float16, "torch.float16", id="dtype"),
    pytest.param(np.dtype("f4"), "np.dtype float32", id="NumPy dtype"),
    pytest.param(torch.device("cpu"), "device cpu", id="device"),
    pytest.param(
        Record("Output", {"loss": 0.5, "logits": torch.zeros(9)}), "Output(loss=0.5, logits=f32[9])", id="record"
    ),
    pytest.param(branded(NamedDict, {"a": 2}, "Counter"), "Counter {'a': 2}", id="dict subclass"),
    pytest.param(branded(NamedTuple, (2, 3), "Size", fields={}), "Size(2, 3)", id="tuple subclass"),
    pytest.param(branded(NamedTuple, (2, 3), "P", fields={"x": 2, "y": 3}), "P(x=2, y=3)", id="named tuple"),
    pytest.param(branded(NamedInt, 3, "Color"), "Color 3", id="int subclass"),
    pytest.param(branded(NamedStr, "red", "Color"), "Color 'red'", id="str subclass"),
    pytest.param(Report("raised", "ValueError", (), "too long"), "raised ValueError: too long", id="exception"),
    pytest.param(Stranger(), "a GPT (object)", id="handle"),
    pytest.param(object(), "an object (object)", id="stranger"),
    pytest.param(reward, "function reward", id="callback"),
]


@pytest.mark.parametrize(("value", "text"), SHORT)
def test_a_value_is_shown_as(value: Any, text: str) -> None:
    assert short(value) == text


def test_long_containers_say_how_many_items_there_are() -> None:
    assert short(list(range(900)), 30) == "[0, 1, 2, 3, 4, … 900 in all]"
    assert short(dict.fromkeys("abcdefghijkl", 0), 40) == "{'a': 0, 'b': 0, 'c': 0, … 12 in all}"
    assert short(["x" * 100] * 3, 20) == "[… 3 in all]"


def test_long_texts_are_cut_in_the_middle() -> None:
    assert short("a" * 50 + "b" * 50, 34) == "'aaaaaaa…bbbbbbb' (100 characters)"
    assert short(b"a" * 10_000_000, 30).endswith("(10000000 bytes)")


def test_full_shows_the_head_of_a_long_array() -> None:
    assert full(torch.arange(100)) == "i64[100] = [0, 1, 2, 3, 4, 5, …]"
    assert (
        full(np.zeros((2, 9)))
        == "np.f64[2, 9] = [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, …], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, …]]"
    )
    assert len(full(list(range(900)))) <= 120


def test_a_pair_gets_the_digits_that_tell_it_apart() -> None:
    assert pair(0.5, 0.25) == ("0.5", "0.25")
    assert pair([0.1234567], [0.1234568]) == ("[0.1234567]", "[0.1234568]")
    assert pair(torch.zeros(100), torch.zeros(100))[0] == "f32[100] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, …]"


def test_a_call_keeps_its_first_and_its_last_argument() -> None:
    logps = torch.zeros(4)
    names = ("policy_chosen_logps", "policy_rejected_logps", "reference_chosen_logps", "reference_rejected_logps")
    text = call("dpo_loss", (), dict.fromkeys(names, logps) | {"beta": 0.1}, limit=70)
    assert text == "dpo_loss(policy_chosen_logps=f32[4], …, beta=0.1)"
    assert call("dpo_loss", (logps, [1]), {"beta": 0.1}) == "dpo_loss(f32[4], [1], beta=0.1)"
    assert call("f", (), {}) == "f()"
    assert call("encode", ("x" * 1000,), {}, limit=40).startswith("encode('x")


def test_nothing_of_the_value_is_run() -> None:
    def trap(*_: Any) -> Any:
        raise KeyboardInterrupt("it was run")

    names = ("__repr__", "__str__", "__len__", "__iter__", "__getitem__", "__format__", "__eq__", "__hash__", "items")
    for base in (str, bytes, int, float, list, tuple, dict, set, frozenset, object, Exception):
        trapped = type("Trapped", (base,), dict.fromkeys(names, trap))
        assert short(trapped())


HOSTILE = "\x1b[2J\x00\x9b\u202e\u2066\u2028\r\n\ud800\U000e0001"


@pytest.mark.parametrize(
    "value",
    [
        HOSTILE,
        HOSTILE.encode("utf-8", "surrogatepass"),
        {HOSTILE: [HOSTILE]},
        np.array([HOSTILE.replace("\ud800", "")]),
        Record(HOSTILE, {HOSTILE: 1}),
        branded(NamedDict, {}, HOSTILE),
        Report("raised", HOSTILE, (), HOSTILE),
        type(HOSTILE.replace("\x00", "").replace("\ud800", ""), (), {})(),
    ],
    ids=["text", "bytes", "dict", "array", "record", "subclass", "exception", "class"],
)
def test_nothing_shown_can_steer_a_terminal(value: Any) -> None:
    for text in (short(value), full(value), call(HOSTILE, (value,), {HOSTILE: value})):
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def test_what_cannot_be_shown_says_so() -> None:
    broken = Record("Output", {})
    del broken.fields
    assert short(broken) == "a Record that cannot be shown"


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.binary(),
    st.just(object()),
)
ARRAYS = arrays_of.arrays(arrays_of.scalar_dtypes(), arrays_of.array_shapes(min_dims=0, min_side=0, max_side=8))
ANYTHING = st.recursive(
    SCALARS | ARRAYS,
    lambda x: st.one_of(
        st.lists(x),
        st.lists(x).map(tuple),
        st.dictionaries(SCALARS, x),
        st.sets(SCALARS),
        st.dictionaries(st.text(), x).map(lambda fields: Record("R", fields)),
    ),
)


@given(ANYTHING, st.integers(1, 200))
@settings(max_examples=200, deadline=None)
@example([[[["deep"]]]], 1)
def test_a_description_is_one_printable_line_within_its_limit(value: Any, limit: int) -> None:
    for text in (short(value, limit), full(value, limit), call("f", (value, value), {"x": value}, limit)):
        assert text.isprintable()
        assert 0 < len(text) <= limit
