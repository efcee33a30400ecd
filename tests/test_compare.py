"""Comparisons: what is equal, what is not, and what a failure says."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from grader.comparison.compare import CheckFailed, assert_close, assert_equal, assert_true, close, fail
from grader.sandbox.plain import NamedDict, NamedFloat, NamedList, NamedTuple, Record
from grader.sandbox.servant import Report

NAN, INF = float("nan"), float("inf")
LOOSE = {"rtol": 1e-5, "atol": 1e-6}


def tensor(*values: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def branded(brand: Callable[[Any], Any], value: Any, name: str, **attributes: Any) -> Any:
    """A subclass instance as the wire delivers it."""
    made = brand(value)
    for key, attribute in (attributes | {"type_name": name}).items():
        setattr(made, key, attribute)
    return made


class Stranger:
    """Like a handle: a name, and no value of its own."""

    type_name = "GPT"


def failure(got: Any, want: Any, **rules: Any) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        assert_close(got, want, **(LOOSE | rules))
    return caught.value


MATRIX = torch.tensor(
    [[0.31, -0.72, 1.13, 0.44], [0.95, 0.16, -0.57, 0.68], [0.29, 1.3, 0.81, -0.22], [0.5, 0.7, 1.1, 0.9]]
)
POINT = {"fields": {"x": 1.0, "y": 2.0}}

EQUAL = [
    pytest.param(None, None, id="none"),
    pytest.param(0.1 + 0.2, 0.3, id="floats within tolerance"),
    pytest.param(NAN, float("-nan"), id="nan is nan"),
    pytest.param(INF, INF, id="inf is inf"),
    pytest.param(3, 3.0, id="an int where a float is wanted"),
    pytest.param(3, 3 + 0j, id="an int where a complex is wanted"),
    pytest.param(np.float64(0.5), 0.5, id="a NumPy scalar for a float"),
    pytest.param(0.5, np.float32(0.5), id="a float for a NumPy scalar"),
    pytest.param(np.array(0.5), 0.5, id="a 0-dim array for a float"),
    pytest.param(np.float64(0.5), np.array(0.5), id="a NumPy scalar for a 0-dim array"),
    pytest.param(np.int32(3), 3, id="a NumPy int for an int"),
    pytest.param(np.bool_(True), True, id="a NumPy bool for a bool"),
    pytest.param(np.str_("a"), "a", id="a NumPy string for a string"),
    pytest.param(2**4000, 2**4000, id="huge ints"),
    pytest.param(complex(NAN, 1), complex(NAN, 1 + 1e-9), id="complex with nan in the same part"),
    pytest.param(tensor(1, NAN, INF), tensor(1, NAN, INF), id="nan and inf at the same places"),
    pytest.param(tensor(0.5).requires_grad_(), tensor(0.5), id="requires_grad does not matter"),
    pytest.param(MATRIX.T, MATRIX.T.contiguous(), id="strides do not matter"),
    pytest.param(tensor(1, 2, dtype=torch.bfloat16), tensor(1, 2, dtype=torch.bfloat16), id="bfloat16"),
    pytest.param(torch.tensor([1 + 2j]).conj(), torch.tensor([1 - 2j]), id="a lazy conjugate"),
    pytest.param(torch.zeros(0, 3), torch.zeros(0, 3), id="empty tensors of one shape"),
    pytest.param(np.array(["a", "b"], "U1"), np.array(["a", "b"], "U9"), id="widths of strings"),
    pytest.param(np.array([1.0], ">f8"), np.array([1.0], "<f8"), id="byte order"),
    pytest.param([1, [2.0, {"a": tensor(1)}]], [1, [2.0, {"a": tensor(1)}]], id="nested"),
    pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, id="the order of keys"),
    pytest.param({NAN: 1}, {-NAN: 1}, id="a nan key"),
    pytest.param({(1, NAN)}, {(1, -NAN)}, id="nan inside an element"),
    pytest.param({1.0, 2}, {1, 2.0}, id="int and float elements"),
    pytest.param(range(0), range(5, 5), id="empty ranges"),
    pytest.param(slice(1, None), slice(1, None), id="slices"),
    pytest.param(torch.float32, torch.float32, id="dtype"),
    pytest.param(torch.Generator().manual_seed(1), torch.Generator().manual_seed(1), id="generators by state"),
    pytest.param(branded(NamedDict, {"a": 1}, "Counter"), {"a": 1}, id="a subclass for its base"),
    pytest.param([1], branded(NamedList, [1], "Stack"), id="the base for a subclass"),
    pytest.param(branded(NamedTuple, (1.0, 2.0), "Point", **POINT), (1.0, 2.0), id="a named tuple for a tuple"),
    pytest.param(branded(NamedFloat, 0.5, "Reward"), 0.5, id="a float subclass"),
    pytest.param(Record("A", {"x": 1, "y": 2}), Record("B", {"y": 2, "x": 1}), id="dataclasses by fields"),
    pytest.param(Report("raised", "E", (), "no"), Report("raised", "E", (), "no", ((3, "f", "x"),)), id="exceptions"),
]


@pytest.mark.parametrize(("got", "want"), EQUAL)
def test_equal_values_pass(got: Any, want: Any) -> None:
    assert_close(got, want, **LOOSE)
    assert close(got, want, **LOOSE)


DIFFERENT = [
    pytest.param(None, 0.5, "returned None: is a `return` missing?", id="nothing returned"),
    pytest.param(np.array([]), 0.5, "a NumPy array of shape (0,), wanted a float", id="empty array for a scalar loss"),
    pytest.param(
        torch.tensor([]), torch.tensor(0.5), "shape (0,), wanted (): not reduced", id="empty tensor for a loss"
    ),
    pytest.param(np.zeros((0, 1)), np.float64(0), "a NumPy array of shape (0, 1)", id="empty array for a NumPy scalar"),
    pytest.param(torch.tensor(0.5), 0.5, "`.item()`", id="a tensor for a float"),
    pytest.param(0.5, torch.tensor(0.5), "carries no gradient", id="a float for a tensor"),
    pytest.param(np.ones(2), torch.ones(2), "a NumPy array of shape (2,), wanted a torch", id="array for a tensor"),
    pytest.param(torch.ones(2), np.ones(2), "a torch tensor", id="a tensor for an array"),
    pytest.param(3.0, 3, "a float, wanted an int", id="a float for an int"),
    pytest.param(True, 1, "a bool, wanted an int", id="a bool for an int"),
    pytest.param(1, True, "an int, wanted a bool", id="an int for a bool"),
    pytest.param(True, 1.0, "a bool, wanted a float", id="a bool for a float"),
    pytest.param(1j, 1.0, "a complex, wanted a float", id="a complex for a float"),
    pytest.param(np.float32(0.5), np.float64(0.5), "dtype float32, wanted float64", id="precision of NumPy scalars"),
    pytest.param((0.5,), 0.5, "a trailing comma makes a tuple", id="trailing comma"),
    pytest.param([1], (1,), "a list, wanted a tuple", id="a list for a tuple"),
    pytest.param(frozenset({1}), {1}, "a frozenset, wanted a set", id="frozenset for a set"),
    pytest.param("1", 1, "a string, wanted an int", id="a string for an int"),
    pytest.param(b"a", "a", "a bytes, wanted a string", id="bytes for a string"),
    pytest.param(Stranger(), 1.0, "an object of class GPT, wanted a float", id="an object for a float"),
    pytest.param(Report("raised", "ValueError", (), "no"), 1.0, "class ValueError", id="an exception for a float"),
    pytest.param(Record("Out", {"x": 1}), {"x": 1}, "an Out, wanted a dict", id="a dataclass for a dict"),
    pytest.param(torch.zeros(3, 1), torch.zeros(3), "a dimension of size 1", id="column for a vector"),
    pytest.param(torch.zeros(1), torch.zeros(4), "shape (1,), wanted (4,)", id="no broadcasting"),
    pytest.param(torch.tensor(0.0), torch.zeros(4), "reduced to one number", id="a scalar for a vector"),
    pytest.param(
        torch.zeros(3, 4), torch.zeros(4, 3), "shape (3, 4), wanted (4, 3): transposed?", id="transposed shape"
    ),
    pytest.param(torch.zeros(2, 3), torch.zeros(2, 4), "shape (2, 3), wanted (2, 4)", id="another shape"),
    pytest.param(MATRIX.double(), MATRIX, "dtype float64, wanted float32", id="dtype before values"),
    pytest.param(tensor(1, 0, dtype=torch.int64), tensor(1, 0, dtype=torch.bool), "dtype int64", id="ints for a mask"),
    pytest.param(torch.zeros(2, device="meta"), torch.zeros(2), "on device meta, wanted on cpu", id="device"),
    pytest.param(NAN, 0.28, "nan, wanted a finite number", id="nan for a number"),
    pytest.param(0.28, NAN, "0.28, wanted nan", id="a number for nan"),
    pytest.param(-INF, INF, "-inf, wanted inf", id="the other infinity"),
    pytest.param(10**400, INF, "int of 1329 bits, wanted inf", id="a huge int for inf"),
    pytest.param(complex(1, NAN), complex(NAN, 1), "1+nanj, wanted nan+1j", id="nan in the other part"),
    pytest.param(
        tensor(NAN, 1), tensor(1, 1), "1 of 2 elements NaN; at [0]: got nan, wanted 1.0", id="nan in a tensor"
    ),
    pytest.param(tensor(INF, NAN), tensor(1, 2), "2 of 2 elements not finite; first at [0]", id="not finite"),
    pytest.param(tensor(0, 1), tensor(-INF, 1), "finite where they should not be", id="a mask not applied"),
    pytest.param(tensor(INF, 1), tensor(-INF, 1), "1 of 2 elements not finite", id="the wrong infinity in a tensor"),
    pytest.param(tensor(NAN, 1), tensor(1, NAN), "2 of 2 elements wrong", id="nan at another place"),
    pytest.param(torch.tensor([complex(1, NAN)]), torch.tensor([1 + 1j]), "elements NaN", id="nan in a part"),
    pytest.param(0.31, 0.28, "off by 0.03 absolute, 11 % relative; allowed 1e-06 + 1e-05·|wanted|", id="floats"),
    pytest.param(torch.tensor(0.31), torch.tensor(0.28), "off by 0.03 absolute", id="tensors of no dimension"),
    pytest.param(-0.28, 0.28, "the sign is flipped", id="a flipped scalar"),
    pytest.param(1, 0.0, "off by 1 absolute; allowed", id="zero has no relative error"),
    pytest.param([1, 2], [1, 2, 3], "2 items, wanted 3", id="another length"),
    pytest.param({"los": 1}, {"loss": 1}, "missing key 'loss'; extra key 'los'", id="a misspelt key"),
    pytest.param({True: 1}, {1: 1}, "missing key 1; extra key True", id="True is no key 1"),
    pytest.param({}, dict.fromkeys(range(9)), "missing keys 0, 1, 2, 3, 4 and 4 more", id="many missing keys"),
    pytest.param({1, 2, 3}, {2, 3, 4}, "missing element 4; extra element 1", id="sets"),
    pytest.param({NAN: 1, -NAN: 1}, {NAN: 1}, "2 keys, wanted 1", id="two nan keys"),
    pytest.param(Record("A", {"x": 1}), Record("A", {"y": 1}), "missing field 'y'; extra field 'x'", id="fields"),
    pytest.param("abcdef", "abcxef", "differs from position 3 on", id="strings"),
    pytest.param(range(3), range(4), "range(0, 3), wanted range(0, 4)", id="ranges"),
    pytest.param(slice(1, 2), slice(1, 3), "stop of the result: off by -1", id="slices"),
    pytest.param(torch.float16, torch.float32, "torch.float16, wanted torch.float32", id="dtypes"),
    pytest.param(
        torch.Generator().manual_seed(1), torch.Generator().manual_seed(2), "in another state", id="generators"
    ),
    pytest.param(
        np.array(["a", "b"]), np.array(["a", "c"]), "1 of 2 elements wrong; at [1]: got 'b'", id="string arrays"
    ),
    pytest.param(Report("raised", "A", (), "x"), Report("raised", "B", (), "x"), "another exception", id="exceptions"),
]


@pytest.mark.parametrize(("got", "want", "says"), DIFFERENT)
def test_different_values_fail_and_say_why(got: Any, want: Any, says: str) -> None:
    assert says in failure(got, want).message
    assert not close(got, want, **LOOSE)


def test_zeros_do_not_pass_unless_the_tolerance_covers_the_signal() -> None:
    want = torch.full((1000,), 1e-4)
    assert not close(torch.zeros(1000), want, rtol=1e-5, atol=1e-6)
    assert close(torch.zeros(1000), want, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_int64_is_not_rounded_to_a_float(make: Callable[[Any], Any]) -> None:
    huge = 2**62
    assert not close(make([huge + 1]), make([huge]), rtol=0, atol=0)
    assert close(make([huge + 1]), make([huge]), rtol=0, atol=1)
    assert not close(make([huge + 2]), make([huge]), rtol=0, atol=1)
    assert not close(make([-(2**63)]), make([2**63 - 1]), rtol=0.5, atol=0)


def test_huge_ints_are_exact_under_a_tolerance_too() -> None:
    assert close(10**400 + 1, 10**400, rtol=0, atol=1)
    assert not close(10**400 + 2, 10**400, rtol=0, atol=1)
    assert close(10**400 + 2, 10**400, rtol=1e-5, atol=0)
    assert failure(10**400, 1.5).got == "int of 1329 bits"


def test_unsigned_ints_do_not_wrap() -> None:
    assert not close(np.array([0], np.uint8), np.array([255], np.uint8), rtol=0, atol=10)
    assert close(np.array([2**64 - 1], np.uint64), np.array([2**64 - 2], np.uint64), rtol=0, atol=1)


def test_the_tolerance_is_relative_to_what_is_wanted() -> None:
    assert close(100.0, 110.0, rtol=0.095, atol=0)
    assert not close(110.0, 100.0, rtol=0.095, atol=0)


def test_a_bool_has_no_tolerance() -> None:
    assert not close(tensor(1, dtype=torch.bool), tensor(0, dtype=torch.bool), rtol=1, atol=1)
    assert not close(True, False, rtol=1, atol=1)


def test_exact_type_tells_a_subclass_and_a_numpy_scalar_from_the_plain_type() -> None:
    counter = branded(NamedDict, {"a": 1}, "Counter")
    assert_equal(counter, branded(NamedDict, {"a": 1}, "Counter"), exact_type=True)
    assert failure(counter, {"a": 1}, exact_type=True).message == "of type Counter, wanted exactly dict"
    assert "numpy.float64, wanted exactly float" in failure(np.float64(0.5), 0.5, exact_type=True).message
    assert failure(3, 3.0, exact_type=True).message == "of type int, wanted exactly float"
    assert "item 0 of the result" in failure([counter], [{"a": 1}], exact_type=True).message
    assert "wanted exactly A" in failure(Record("B", {}), Record("A", {}), exact_type=True).message


def test_a_failure_counts_and_names_the_worst_element() -> None:
    want = torch.zeros(2, 3) + 0.28
    got = want.clone()
    got[1, 2], got[0, 1] = 0.38, 0.29
    error = failure(got, want)
    assert error.message == (
        "2 of 6 elements wrong; worst at [1, 2]: got 0.38, wanted 0.28; "
        "off by 0.1 absolute, 36 % relative; allowed 1e-06 + 1e-05·|wanted|"
    )
    assert error.expected == "f32[2, 3] = [[0.28, 0.28, 0.28], [0.28, 0.28, 0.28]]"
    assert str(error) == error.message


def test_numbers_that_look_alike_are_shown_with_more_digits() -> None:
    error = failure(0.1 + 0.2, 0.3, rtol=0, atol=0)
    assert (error.got, error.expected) == ("0.30000000000000004", "0.29999999999999999")
    assert error.message.endswith("no difference is allowed")


def test_the_path_leads_into_containers() -> None:
    got, want = [{"a": (1.0, tensor(1, 2))}], [{"a": (1.0, tensor(1, 3))}]
    where = "item 1 of key 'a' of item 0"
    assert failure(got, want).message.startswith(f"{where} of the result: 1 of 2 elements wrong; at [1]: ")
    assert failure(got, want, label="step 3").message.startswith(f"step 3: {where}: ")
    named = [branded(NamedTuple, (x, 2.0), "Point", **POINT) for x in (1.0, 1.5)]
    assert failure(*named).message.startswith("field x of the result: off by 0.5")


def test_a_label_says_what_is_none() -> None:
    assert failure(None, tensor(1), label="gradient of x").message == (
        "gradient of x: None, wanted a torch tensor of shape (1,)"
    )


def test_a_hostile_name_is_escaped() -> None:
    bad = "\x1b[2J\u202e"
    for got in ({bad: 1}, Record(bad, {bad: 1}), branded(NamedList, [], bad), "x" + bad):
        for want in ({"a": 1}, Record("A", {"a": 1}), "x"):
            error = failure(got, want, exact_type=True)
            assert all(text.isprintable() for text in (error.message, error.got, error.expected))


ROWS = MATRIX.softmax(-1)
GUESSES = [
    pytest.param(-MATRIX, MATRIX, "the sign is flipped", id="sign"),
    pytest.param(MATRIX * 0, MATRIX, "everything is zero", id="zeros"),
    pytest.param(MATRIX.T, MATRIX, "transposed", id="transposed"),
    pytest.param(MATRIX.expand(2, 4, 4).mT, MATRIX.expand(2, 4, 4), "dimensions 1 and 2 are swapped", id="swapped"),
    pytest.param(MATRIX / 4, MATRIX, "a factor of 1/4 (the mean instead of the sum over 4?)", id="mean"),
    pytest.param(MATRIX * 16, MATRIX, "a factor of 16 (the sum instead of the mean over 16?)", id="sum"),
    pytest.param(MATRIX[:3] / 3**0.5, MATRIX[:3], "a factor of 1/√3", id="root"),
    pytest.param(MATRIX[:3] * 4 / 3, MATRIX[:3], "a factor of 4/3", id="bias correction"),
    pytest.param(MATRIX * -0.123456, MATRIX, "a factor of -0.1235", id="factor"),
    pytest.param(MATRIX + 0.25, MATRIX, "off by the same amount, +0.25", id="offset"),
    pytest.param(MATRIX.exp(), ROWS, "normalised along the last dimension?", id="not normalised"),
    pytest.param(MATRIX.roll(1, 1), MATRIX, "shifted by one along dimension 1", id="late"),
    pytest.param(tensor(9, 4, 7, 1), tensor(4, 7, 1, 3), "comes one place too late", id="late vector"),
    pytest.param(tensor(7, 1, 3, 0), tensor(4, 7, 1, 3), "comes one place too early", id="early vector"),
    pytest.param(MATRIX > 0, MATRIX <= 0, "every element is inverted", id="inverted mask"),
    pytest.param((MATRIX * 10).long() * 2, (MATRIX * 10).long(), "a factor of 2", id="ints"),
    pytest.param(MATRIX.numpy() * 1j, -MATRIX.numpy() * 1j, "the sign is flipped", id="complex"),
]


@pytest.mark.parametrize(("got", "want", "says"), GUESSES)
def test_a_cause_is_guessed_where_it_fits_every_element(got: Any, want: Any, says: str) -> None:
    assert says in failure(got, want).message


def spoiled(value: torch.Tensor) -> torch.Tensor:
    value = value.clone()
    value[0, 1] += 0.01
    return value


UNGUESSED = [
    pytest.param(torch.rand(4, 4, generator=torch.Generator().manual_seed(1)), MATRIX, id="unrelated"),
    pytest.param(spoiled(-MATRIX), MATRIX, id="one sign is right"),
    pytest.param(spoiled(MATRIX.T), MATRIX, id="nearly transposed"),
    pytest.param(spoiled(MATRIX / 4), MATRIX, id="nearly a factor"),
    pytest.param(spoiled(MATRIX + 1), MATRIX, id="nearly an offset"),
    pytest.param(tensor(0.5, 1), tensor(1, 2), id="two elements have a factor by chance"),
    pytest.param(torch.full((8,), 0.5), torch.ones(8), id="one distinct value has any factor"),
    pytest.param(torch.tensor(0.5), torch.tensor(1.0), id="scalars have any factor"),
]


@pytest.mark.parametrize(("got", "want"), UNGUESSED)
def test_no_cause_is_guessed_where_it_does_not_fit_or_could_not_tell(got: Any, want: Any) -> None:
    assert failure(got, want).message.endswith("allowed 1e-06 + 1e-05·|wanted|")


def test_no_cause_is_guessed_when_the_tolerance_swallows_the_signal() -> None:
    want = MATRIX * 0.01
    assert "everything" not in failure(want + 1, want, atol=0.05).message


def test_assert_true_takes_a_bool_and_nothing_else() -> None:
    assert_true(True, "fine")
    assert_true(np.bool_(True), "fine")
    with pytest.raises(CheckFailed, match="the queue is full") as caught:
        assert_true(False, "the queue is full", expected="at most 4", got=torch.zeros(2))
    assert (caught.value.expected, caught.value.got) == ("at most 4", "f32[2] = [0.0, 0.0]")
    for condition in (1, None, torch.tensor(True), np.array([True])):
        with pytest.raises(TypeError, match="assert_true takes a bool"):
            assert_true(condition, "never")


def test_fail_shows_texts_as_they_are_and_values_described() -> None:
    with pytest.raises(CheckFailed) as caught:
        fail("no", expected="a\x1b[1mb", got=[1, 2])
    assert (caught.value.expected, caught.value.got) == ("a\\x1b[1mb", "[1, 2]")


def test_what_no_check_can_mean_is_the_authors_error() -> None:
    with pytest.raises(TypeError, match=r"a GPT \(object\) cannot be compared"):
        assert_equal(1, Stranger())
    with pytest.raises(ValueError, match="rtol is -1"):
        assert_close(1.0, 1.0, rtol=-1, atol=0)
    with pytest.raises(ValueError, match="atol is nan"):
        assert_close(1.0, 1.0, rtol=0, atol=NAN)


def test_close_never_raises() -> None:
    handle = Stranger()
    assert close(handle, handle, **LOOSE)
    assert not close(handle, Stranger(), **LOOSE)
    assert not close(1.0, 1.0 + 1e-9, rtol=-1, atol=0)


def test_comparing_does_not_import_torch() -> None:
    code = (
        "import sys, numpy as np, grader.comparison.distribution; from grader.comparison.compare import assert_equal;"
        "assert_equal([np.ones(2), 1.0], [np.ones(2), 1.0]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
)
ARRAYS = arrays_of.arrays(
    st.sampled_from([np.float16, np.float64, np.int64, np.uint8, np.bool_, np.complex64]),
    arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
HASHABLE = st.recursive(SCALARS, lambda x: st.tuples(x, x) | st.frozensets(x, max_size=3), max_leaves=3)
PLAIN = st.recursive(
    st.one_of(SCALARS, ARRAYS, ARRAYS.map(torch.from_numpy)),
    lambda x: st.one_of(
        st.lists(x, max_size=3),
        st.tuples(x, x),
        st.dictionaries(HASHABLE, x, max_size=3),
        st.sets(HASHABLE, max_size=3),
    ),
    max_leaves=6,
)


@given(PLAIN)
@settings(max_examples=150, deadline=None)
def test_a_value_is_close_to_its_copy_and_inside_a_list_to_nothing_else(value: Any) -> None:
    copy = pickle.loads(pickle.dumps(value))
    assert close(copy, value, rtol=0, atol=0)
    assert close(copy, value, **LOOSE)
    assert_equal(copy, value, exact_type=True)
    assert not close([copy], [copy, copy], **LOOSE)


@given(PLAIN, PLAIN)
@settings(max_examples=150, deadline=None)
def test_what_is_not_close_fails_with_one_printable_line(got: Any, want: Any) -> None:
    if not close(got, want, **LOOSE):
        error = failure(got, want)
        assert error.message
        assert all(text.isprintable() for text in (error.message, error.expected, error.got))


@given(st.floats(), st.floats(), st.sampled_from([0.0, 1e-6, 0.5]), st.sampled_from([0.0, 1e-5, 0.9]))
@settings(max_examples=150, deadline=None)
def test_a_number_is_compared_like_an_array_of_it(got: float, want: float, atol: float, rtol: float) -> None:
    as_arrays = close(np.array([got]), np.array([want]), rtol=rtol, atol=atol)
    assert close(got, want, rtol=rtol, atol=atol) == as_arrays


def test_of_a_large_array_the_row_of_the_worst_element_is_shown() -> None:
    want = np.arange(120.0).reshape(2, 3, 5, 4)
    got = want.copy()
    got[1, 2, 3, 0] += 0.5
    with pytest.raises(CheckFailed) as failure:
        assert_close(got, want, rtol=0, atol=1e-9)
    assert failure.value.expected == "[1, 2, 3]: np.f64[4] = [112.0, 113.0, 114.0, 115.0]"
    assert failure.value.got == "[1, 2, 3]: np.f64[4] = [112.5, 113.0, 114.0, 115.0]"


def test_an_error_of_float32_is_not_called_a_factor() -> None:
    want = np.linspace(1.0, 2.0, 10)
    with pytest.raises(CheckFailed, match="as far off as float32 rounds") as failure:
        assert_close(want.astype(np.float32).astype(np.float64), want, rtol=1e-9, atol=0)
    assert "factor" not in str(failure.value)
