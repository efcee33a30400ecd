"""The reference in a process of its own beside the attempt, and an attempt that starts anew."""

from grader.checking import assert_close, assert_equal, check, cpu_seconds


@check("cost", points=25)
def test_cost_is_measured_first(attempt, reference, rng):
    """double costs no more than the reference, and is 2·x"""
    x = rng.standard_normal(4)
    cpu_seconds(attempt.double, x)
    cpu_seconds(reference.double, x)
    assert_close(attempt.double(x), reference.double(x), rtol=1e-12, atol=0)


@check("cost", points=25)
def test_what_a_process_of_its_own_says_is_what_is_wanted(attempt, reference, rng):
    """double is what the reference says in a process of its own"""
    x = rng.standard_normal(4)
    want = reference.confined().double(x)
    assert_close(attempt.double(x), want, rtol=1e-12, atol=0)


@check("cost", points=25)
def test_double_adds_x_to_itself(attempt, reference, rng):
    """double is 2·x"""
    x = rng.standard_normal(4)
    assert_close(attempt.double(x), reference.double(x), rtol=1e-12, atol=0)


@check("resume", points=25)
def test_a_new_process_remembers_by_its_file_alone(attempt, rng):
    """what was saved is loaded in another process"""
    number = int(rng.integers(2**31))
    attempt.save(attempt.path("state"), number)
    assert_equal(attempt.restart().load(attempt.path("state")), number)
    assert_equal(attempt.read_bytes("state"), str(number).encode())
