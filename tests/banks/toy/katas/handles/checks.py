"""Handles: made, kept, asked, passed on, fetched."""

from grader.checking import assert_equal, assert_raises, assert_true, check, fetch, keep


@check("objects", points=10)
def test_a_stack_is_last_in_first_out(attempt, reference):
    """what is pushed last is popped first"""
    for module in (attempt, reference):
        stack = module.Stack()
        stack.push(1)
        stack.push(2)
        assert_equal([stack.pop(), stack.pop()], [2, 1])


@check("objects", points=10)
def test_push_returns_the_stack_itself(attempt):
    """push can be chained"""
    stack = attempt.Stack("chained")
    assert_true(stack.push(1) is stack, "push returned another object", expected=stack, got=stack.push(2))
    assert_equal(stack.push(3).get("items"), [1, 2, 3])


@check("objects", points=10)
def test_a_full_stack_refuses(attempt):
    """a fourth item raises OverflowError"""
    stack = attempt.Stack().push(1).push(2).push(3)
    assert_raises(OverflowError, stack.push, 4)
    assert_equal(stack.get("items"), [1, 2, 3])


@check("objects", points=10)
def test_fields_items_and_entries_can_be_had(attempt):
    """name, items and floor are there"""
    stack = attempt.Stack("s").push(5)
    assert_equal(stack.get("name"), "s")
    below = stack.get("below", keep=True)
    assert_true(below.get("floor") is stack.get("below")["floor"], "the entry of a dict is one and the same object")
    assert_equal(below.get("floor").get("level"), 0)
    kept = keep(attempt.numbers)(3)
    assert_equal(kept.get(1), 1)
    assert_equal(kept.get(-1), 2)


@check("objects", points=10)
def test_a_stack_is_callable(attempt):
    """calling a stack scales its items"""
    stack = attempt.Stack().push(2).push(3)
    assert_equal(stack(10), [20, 30])
    kept = keep(stack)(2)
    assert_equal(fetch(kept), [4, 6])


@check("objects", points=10)
def test_handles_are_arguments(attempt):
    """total sums over several stacks"""
    first, second = attempt.Stack().push(1), attempt.Stack().push(20)
    assert_equal(attempt.total(first, second), 21)
    assert_equal(attempt.total(*[first, first]), 2)


@check("objects", points=10)
def test_handles_come_in_containers(attempt):
    """pair gives two stacks, the second of them three times"""
    first, named = attempt.pair()
    assert_equal([first.get("name"), named["again"].get("name")], ["first", "second"])
    assert_true(named["twice"][0] is named["again"] is named["twice"][1], "not one and the same stack")
    assert_true(attempt.run("same", named["again"], named["twice"][0]), "not one and the same stack over there")


@check("objects", points=10)
def test_a_kept_list_grows_over_there(attempt):
    """grow changes the list itself"""
    values = keep(attempt.numbers)(2)
    assert_true(keep(attempt.grow)(values, 7) is values, "grow returned another list")
    assert_equal(fetch(values), [0, 1, 7])
    assert_equal(attempt.grow([5], 6), [5, 6])


@check("objects", points=10)
def test_a_generator_can_be_fetched(attempt):
    """countdown yields from n to 1"""
    assert_equal(fetch(attempt.countdown(3)), [3, 2, 1])


@check("objects", points=5)
def test_probes_look_inside(attempt, reference):
    """the floor is level"""
    for module in (attempt, reference):
        levels, name = module.run("levels", module.Stack())
        assert_equal(levels, [0])
        assert_true(name.endswith("handles") or "reference" in name, "not run beside the module", got=name)
        assert_equal(module.run("rename", module.Stack(), "new").get("name"), "new")


@check("objects", points=5)
def test_a_class_method_makes_a_stack(attempt, reference):
    """Stack.of holds its arguments"""
    for module in (attempt, reference):
        assert_equal(module.Stack.of(1, 2).get("items"), [1, 2])
        assert_true(module.has("Stack") and not module.has("Queue"), "which names are defined is known")
