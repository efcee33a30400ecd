"""Impostors made of a reference: right shape, wrong values, no effects, and nothing raised."""

import asyncio
from collections import Counter, OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from grader.lint.disguise import ALTERATIONS, altered, disguise
from grader.lint.impostors import disguised

Pair = namedtuple("Pair", "a b")


@dataclass(frozen=True)
class Record:
    loss: float
    name: str


def impostor(function, kind):
    """That function in a module of its own, disguised."""
    namespace = {"f": function}
    disguise(namespace, ("f",), kind)
    return namespace["f"]


@pytest.mark.parametrize(
    ("real", "zeros"),
    [
        pytest.param(2.5, 0.0, id="float"),
        pytest.param(7, 0, id="int"),
        pytest.param(True, False, id="bool"),
        pytest.param("text", "", id="str"),
        pytest.param(None, None, id="None"),
        pytest.param((1.0, [2, {"a": 3.0}]), (0.0, [0, {"a": 0.0}]), id="nested"),
        pytest.param(Pair(1, 2.0), Pair(0, 0.0), id="namedtuple"),
        pytest.param(Record(1.5, "x"), Record(0.0, ""), id="dataclass"),
        pytest.param(Counter("aab"), Counter({"a": 0, "b": 0}), id="Counter"),
        pytest.param(OrderedDict(a=1), OrderedDict(a=0), id="OrderedDict"),
        pytest.param({1, 2}, {0}, id="set"),
        pytest.param(np.float32(2.0), np.float32(0.0), id="NumPy scalar"),
    ],
)
def test_zeros_keep_type_and_structure(real, zeros):
    got = impostor(lambda: real, "zeros")()
    assert got == zeros
    assert type(got) is type(zeros)


@pytest.mark.parametrize("kind", ["zeros", "nan", "random"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_, np.complex128])
def test_arrays_keep_shape_and_dtype(kind, dtype):
    real = np.arange(24).reshape(2, 3, 4).astype(dtype)
    got = impostor(lambda: real, kind)()
    assert (got.shape, got.dtype) == (real.shape, real.dtype)
    assert not np.array_equal(got, real)
    assert real[1, 2, 3] == np.asarray(23).astype(dtype)


@pytest.mark.parametrize("kind", ["zeros", "nan", "random"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_keep_shape_and_dtype(kind, dtype):
    real = torch.arange(24).reshape(2, 3, 4).to(dtype)
    got = impostor(lambda: real, kind)()
    assert (got.shape, got.dtype) == (real.shape, real.dtype)
    assert not torch.equal(got, real)


def test_nan_is_nan_where_it_can_be():
    got = impostor(lambda: (1.0, 3, np.ones(2), torch.ones(2)), "nan")()
    assert np.isnan(got[0])
    assert got[1] == 0
    assert np.isnan(got[2]).all()
    assert got[3].isnan().all()


def test_a_model_comes_back_with_other_weights():
    model = torch.nn.Linear(3, 2)
    got = impostor(lambda: model, "nan")()
    assert isinstance(got, torch.nn.Linear)
    assert got.weight.isnan().all()


@dataclass(slots=True)
class Slotted:
    """Without a dict."""

    count: int
    found: list


def test_what_lies_in_slots_is_altered_too():
    zeroed = altered(Slotted(3, [1, 2]), ALTERATIONS["zeros"])
    assert (zeroed.count, zeroed.found) == (0, [0, 0])


def test_a_generator_and_a_coroutine_are_altered_as_they_run():
    assert list(impostor(lambda: (x for x in (1, 2)), "zeros")()) == [0, 0]

    async def later():
        return 3.0

    assert asyncio.run(impostor(later, "zeros")()) == 0.0


def test_a_returned_function_is_an_impostor_too():
    assert impostor(lambda: lambda x: x + 1, "zeros")()(4) == 0


def test_arguments_stay_as_they_were():
    def fill(x, *, into):
        into.append(x.sum())
        x[:] = 9
        return x

    x, into = np.ones(3), []
    assert impostor(fill, "zeros")(x, into=into).tolist() == [0, 0, 0]
    assert (x.tolist(), into) == ([1, 1, 1], [])


@pytest.mark.parametrize("kind", ["zeros", "nan", "random", "none"])
def test_what_the_reference_raises_stays_inside(kind):
    def refuse(x):
        raise ValueError(x)

    assert impostor(refuse, kind)(3) is None


def test_what_functions_call_inside_stays_real():
    seen = []
    source = "def g(x):\n    return x + 1\ndef f(x):\n    seen.append(g(x))\n    return g(x)\n"
    namespace = {"seen": seen}
    exec(source, namespace)
    disguise(namespace, ("f", "g"), "zeros")
    assert (namespace["f"](4), namespace["g"](4), seen) == (0, 0, [5])


@pytest.mark.parametrize(("kind", "answer"), [("none", None), ("first", 4), ("zeros", 0)])
def test_methods_of_every_kind_are_replaced(kind, answer):
    class Box:
        def __init__(self, x=5):
            self.x = x

        def plain(self, y):
            return y + 1

        @staticmethod
        def static(y):
            return y + 1

        @classmethod
        def of_class(cls, y):
            return y + 1

        @property
        def field(self):
            return self.x

    disguise({"Box": Box}, ("Box.plain", "Box.static", "Box.of_class", "Box.field"), kind)
    box = Box()
    assert [box.plain(4), box.static(4), Box.of_class(4), box.plain(y=4)] == [answer] * 4
    assert box.field == (0 if kind == "zeros" else None)


def test_a_constructor_is_real_where_values_are_altered_and_does_nothing_else():
    class Box:
        def __init__(self, x):
            self.x = x

    disguise({"Box": Box}, ("Box.__init__",), "zeros")
    assert Box(3).x == 3
    disguise({"Box": Box}, ("Box.__init__",), "first")
    assert vars(Box(3)) == {}


def test_the_source_of_an_impostor_takes_no_name_of_the_reference():
    namespace: dict[str, object] = {}
    exec(disguised(b"def f(x):\n    return x", ["f"], "zeros"), namespace)
    assert namespace["f"](7) == 0
    assert set(namespace) - {"__builtins__"} == {"f", "_kata"}


@pytest.mark.parametrize("kind", ["exit", "skip"])
def test_leaving_is_an_exception_that_no_except_clause_of_a_check_catches(kind):
    with pytest.raises(BaseException) as caught:
        impostor(lambda: 1, kind)()
    assert not isinstance(caught.value, Exception)
