"""The proxies, over the transport that stays in this process: what they ask, refuse, remember and answer."""

from typing import Any

import numpy as np
import pytest

from grader.checking import assert_inputs_unchanged, assert_raises, fetch, keep
from grader.comparison.compare import CheckFailed
from grader.sandbox import transcript, wire
from grader.sandbox.program import Program, load
from grader.sandbox.proxy import Conversation, Handle, Host, LocalCarrier, Module, Raised
from grader.sandbox.servant import Servant

SOURCE = b"""
from dataclasses import dataclass

import numpy as np


@dataclass
class Pair:
    first: np.ndarray
    second: int


class Box:
    def __init__(self, item):
        self.item = item

    def get_item(self):
        return self.item

    def itself(self):
        return self

    @staticmethod
    def empty():
        return Box(None)


def pair(n):
    return Pair(np.arange(n), n)


def plus_one(x):
    return x + 1


def first(items):
    return items[0]


def twice(function, x):
    return function(function(x))


def change(values, more):
    values.append(more["k"])
    return more


def fails():
    raise LookupError("nothing here")
"""


def made(source: bytes = SOURCE) -> Module:
    """A module behind a proxy, in this process."""
    program = Program("proxied", "proxied.py", source)
    carrier = LocalCarrier()
    carrier.servant = Servant(program, load(program), carrier.ask)
    return Module(Conversation(carrier, _Nowhere()))


class _Nowhere(Host):
    """No process to do anything with."""


@pytest.fixture
def module() -> Module:
    return made()


def origin(module: Module, value: Any) -> tuple[Any, ...]:
    """The request that a value came from."""
    exchange = module._conversation.transcript.origin(value)
    assert exchange is not None
    head, *buffers = exchange.request[1:]
    return wire.decode(bytes(head), [bytearray(b) for b in buffers], lambda *_: "handle")


def test_names_that_begin_with_an_underscore_are_never_asked_for(module):
    box = module.Box(1)
    for holder, name in ((module, "_private"), (module, "__wrapped__"), (box, "_item"), (module.Box, "_hidden")):
        assert not hasattr(holder, name)


def test_a_function_of_a_class_is_called_by_its_way_there(module):
    assert module.Box.empty().get("item") is None
    with pytest.raises(Raised, match=r"Box\.nothing"):
        module.Box.nothing()


def test_a_handle_of_another_process_is_refused(module):
    with pytest.raises(wire.WireError, match="a handle of another process"):
        module.first([made().Box(1)])


def test_a_handle_comes_back_as_itself_from_wherever(module):
    box = module.Box(module.Box(2))
    assert box.itself() is box
    assert module.first([box]) is box
    assert box.get("item") is box.get_item()
    kept = keep(module.first)([[1, 2]])
    assert isinstance(kept, Handle)
    assert fetch(kept) == [1, 2]
    assert box.get("item").get("item", keep=True).type_name == "int"


def test_a_function_of_one_module_can_be_asked_by_another(module):
    other = made(b"def double(x):\n    return 2 * x")
    assert module.twice(other.double, 3) == 12


def test_a_function_of_its_own_is_refused_and_so_is_a_class(module):
    with pytest.raises(wire.WireError, match="plus_one is over there already"):
        module.twice(module.plus_one, 1)
    with pytest.raises(wire.WireError, match="type cannot be an argument"):
        module.first([np.float32])


def test_a_function_that_asks_back_is_told_that_it_cannot(module):
    with pytest.raises(Raised, match="cannot be asked anything before"):
        module.twice(lambda x: module.plus_one(x), 1)
    assert module.plus_one(1) == 2


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), ZeroDivisionError()])
def test_what_a_function_of_the_check_raises_arrives_under_its_name(module, error):
    def function(_x: int) -> int:
        raise error

    with pytest.raises(Raised) as raised:
        module.twice(function, 1)
    assert raised.value.report.type_name == type(error).__name__
    assert_raises(type(error), module.twice, function, 1)


class Odd(Exception):
    """No built-in exception."""


def test_an_error_that_is_not_built_in_arrives_as_a_runtime_error(module):
    def function(_x: int) -> int:
        raise Odd("odd")

    assert_raises(RuntimeError, module.twice, function, 1)


def test_a_missing_function_satisfies_no_wish_for_an_error(module):
    with pytest.raises(Raised, match="nothing"):
        assert_raises((AttributeError, Exception), module.nothing)
    assert_raises(LookupError, module.fails)
    with pytest.raises(CheckFailed, match="no LookupError was raised"):
        assert_raises(LookupError, module.plus_one, 1)


def test_an_argument_that_was_changed_is_named(module):
    with pytest.raises(CheckFailed, match="values was modified"):
        assert_inputs_unchanged(module.change, [1], {"k": 2})
    assert assert_inputs_unchanged(module.first, [[1]]) == [1]


def test_a_value_knows_the_request_that_brought_it(module):
    pairs = [module.pair(n) for n in (2, 3)]
    sums = [module.plus_one(x) for x in (10, 20)]
    assert origin(module, pairs[0])[1:3] == (("f", "pair"), [2])
    assert origin(module, pairs[1].first)[1:3] == (("f", "pair"), [3])
    assert origin(module, sums[0])[1:3] == (("f", "plus_one"), [10])
    assert module._conversation.transcript.origin("never came") is None


def test_what_was_asked_and_answered_is_remembered(module):
    assert module.twice(lambda x: x * 10, 2) == 200
    (exchange,) = module._conversation.transcript.exchanges
    assert [asked.answer for asked in exchange.asked] == [20, 200]


def test_a_transcript_forgets_what_is_large_and_knows_the_latest_still(module):
    large = np.zeros(transcript.RECORDED_BYTES // 8 + 1)
    module.plus_one(1)
    module.first([large])
    memory = module._conversation.transcript
    assert len(memory.exchanges) == 1
    assert memory.latest is not memory.exchanges[0]
    assert not memory.repeatable
