"""Cost, read from outside: as ratios to the reference and as growth, with a factor of two to spare on both sides."""

import torch

from grader.checking import assert_close, assert_true, check, cpu_seconds, keep, peak_bytes

MIB = 2**20
ROWS, WIDTH, CHUNK = 2048, 16, 64  # the whole matrix takes 16 MiB, a chunk of it half a MiB


def queries(rng, rows):
    return [rng.tensor(rows, WIDTH) for _ in range(3)]


def peak_of(function, rng, as_sent=lambda x: x):
    """Bytes, after a small call that has the libraries read in."""
    function(*map(as_sent, queries(rng, CHUNK)), CHUNK)
    return peak_bytes(keep(function), *map(as_sent, queries(rng, ROWS)), CHUNK)


def assert_small(got, want, label):
    """At most twice the reference's peak and two MiB more, where the whole matrix would be sixteen."""
    allowed = 2 * want + 2 * MIB
    told = {"expected": f"at most {allowed / MIB:.1f} MiB", "got": f"{got / MIB:.1f} MiB"}
    assert_true(got <= allowed, f"{label} needs too much memory", **told)


@check("memory", points=10)
def test_attention_is_exact(attempt, reference, rng):
    """attention in chunks equals attention"""
    q, k, v = rng.tensor(7, 4), rng.tensor(5, 4), rng.tensor(5, 4)
    for chunk in (1, 3, 9):
        assert_close(attempt.attend(q, k, v, chunk), reference.attend(q, k, v, chunk), rtol=1e-5, atol=1e-6)
    q, k, v = (x.double().numpy() for x in (q, k, v))
    assert_close(attempt.attend_numpy(q, k, v, 2), reference.attend_numpy(q, k, v, 2), rtol=1e-9, atol=1e-12)


@check("memory", points=20, needs="test_attention_is_exact")
def test_attention_stays_small(attempt, reference, rng):
    """no more than a few chunks of the matrix are ever held"""
    got, want = (peak_of(module.attend, rng) for module in (attempt, reference.confined()))
    assert_small(got, want, "attend")


@check("memory", points=20, needs="test_attention_is_exact")
def test_numpy_attention_stays_small(attempt, reference, rng):
    """no more than a few chunks of the matrix are ever held, in NumPy too"""
    modules = (attempt, reference.confined())
    got, want = (peak_of(module.attend_numpy, rng, torch.Tensor.numpy) for module in modules)
    assert_small(got, want, "attend_numpy")


@check("memory", points=10, needs="test_attention_is_exact")
def test_the_backward_pass_can_be_measured(attempt, reference):
    """forward and backward take no more than three times what the reference's take"""
    peaks = []
    for module in (attempt, reference.confined()):
        module.run("attend_backward", 8, 8, 8)
        peaks.append(peak_bytes(module.run, "attend_backward", 1024, 8, 64))
    assert_true(peaks[0] < 3 * peaks[1], "forward and backward need too much memory", got=f"{peaks[0] / MIB:.1f} MiB")


@check("time", points=20)
def test_generation_is_right(attempt, reference, rng):
    """generating equals advancing through the cache by hand"""
    weights, token = rng.tensor(8, 8), rng.tensor(8)
    cache, last = reference.Cache(), token
    for _ in range(5):
        last = reference.advance(weights, cache, last)
    assert_close(attempt.generate(weights, token, 5), last, rtol=1e-4, atol=1e-5)
    own, last = attempt.Cache(), token
    for _ in range(5):
        last = attempt.advance(weights, own, last)
    assert_close(last, reference.generate(weights, token, 5), rtol=1e-4, atol=1e-5)


@check("time", points=15, needs="test_generation_is_right")
def test_work_grows_with_length_and_not_faster(attempt, rng):
    """eight times the tokens take far less than sixty-four times the work"""
    weights, token = rng.tensor(16, 16), rng.tensor(16)
    short, long = (min(cpu_seconds(attempt.generate, weights, token, n) for _ in range(2)) for n in (40, 320))
    assert_true(long < 20 * short, "the work grows too fast", expected="about 8 times", got=f"{long / short:.0f} times")


@check("time", points=5)
def test_the_reference_is_measured_in_a_process_of_its_own(attempt, reference, rng):
    """the reference's clock runs, wherever its files are"""
    assert_true(reference.path("beside").endswith("/beside"), "no path in the scratch folder")
    for module in (attempt, reference):
        seconds = cpu_seconds(module.generate, rng.tensor(16, 16), rng.tensor(16), 5)
        assert_true(0 < seconds < 1, "the clock stands still", got=seconds)
