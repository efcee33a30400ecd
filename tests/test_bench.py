"""Timing for real, where each known way to cheat a clock meets ours; how narrow it gets is not tested here."""

import json
import math
import time

import pytest
import torch
import toy
from cli_tools import Person

from grader.benching import Call
from grader.errors import UsageError
from grader.grading import Grader, Options
from grader.judge.stopwatch import EventStopwatch
from grader.sandbox.cuda import EventClock
from grader.timing import Interval, Speed, Timing, disagree, enough, interval, rank

SECONDS = 2.0
CHEATS = {
    "caching by value": """
def spread(x, rounds, seen={}, honest=spread):
    key = (x.tobytes(), rounds)
    if key not in seen:
        seen[key] = honest(x, rounds)
    return seen[key]
""",
    "threads": """
def spread(x, rounds, honest=spread):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        return np.concatenate(list(pool.map(lambda half: honest(half, rounds), np.split(x, 2))))
""",
    "clocks that stand still": """
import time
for name in ("perf_counter", "process_time", "monotonic", "time", "thread_time", "clock_gettime"):
    setattr(time, name, lambda *_: 0.0)
""",
    "work in another thread after the reply": """
import threading
def spread(x, rounds, honest=spread):
    threading.Thread(target=honest, args=(x, rounds), daemon=True).start()
    return honest(x, rounds)
""",
    "a long import": """
for _ in range(300):
    np.sqrt(np.ones(20_000)).sum()
""",
}
WRONG = {
    "caching by address": """
def spread(x, rounds, seen={}, honest=spread):
    key = (x.ctypes.data, rounds)
    if key not in seen:
        seen[key] = honest(x, rounds)
    return seen[key]
""",
    "a lazy result": """
class Later:
    def __init__(self, work):
        self.work = work
    def __array__(self, *_args, **_more):
        return self.work()
def spread(x, rounds, honest=spread):
    return Later(lambda: honest(x, rounds)) if len(x) > 100 else honest(x, rounds)
""",
    "fewer rounds": """
def spread(x, rounds, honest=spread):
    return honest(x, min(rounds, 499))
""",
    "dying on large inputs": """
import os
def spread(x, rounds, honest=spread):
    if len(x) > 100:
        os._exit(0)
    return honest(x, rounds)
""",
    "raising on large inputs": """
def spread(x, rounds, honest=spread):
    if len(x) > 100:
        raise MemoryError("no")
    return honest(x, rounds)
""",
}


def timed(grader: Grader, source: str) -> Timing:
    kata = toy.toy_kata("speed")
    (timing,) = grader.bench(kata, toy.changed(kata, source), Options(), SECONDS)
    return timing


@pytest.mark.parametrize("name", CHEATS)
def test_it_does_not_pay(grader, name):
    timing = timed(grader, CHEATS[name])
    assert not timing.error
    assert timing.verdict is not Speed.FASTER


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_result_has_no_ratio(grader, name):
    timing = timed(grader, WRONG[name])
    assert timing.error
    assert timing.ratio is None


def test_twice_the_work_is_slower(grader):
    timing = timed(
        grader, "def spread(x, rounds, honest=spread):\n    honest(x, rounds)\n    return honest(x, rounds)\n"
    )
    assert timing.verdict is Speed.SLOWER
    assert timing.low <= timing.ratio <= timing.high


def test_waiting_is_seen_by_the_wall_clock_alone(grader):
    source = """
import time
def spread(x, rounds, honest=spread):
    time.sleep(0.02 if len(x) > 100 else 0)
    return honest(x, rounds)
"""
    timing = timed(grader, source)
    assert timing.wall_ratio > 2
    assert timing.ratio < 1.5


def test_peak_memory_is_that_of_the_attempt(grader):
    source = """
def spread(x, rounds, honest=spread):
    if len(x) > 100:
        np.ones(4_000_000)
    return honest(x, rounds)
"""
    timing = timed(grader, source)
    assert timing.peak_mb > 25
    assert timing.reference_peak_mb < 5


class Telling:
    """A worker's conversation that says what it likes of its GPU."""

    def __init__(self, seconds: object) -> None:
        self.seconds = seconds

    def ask(self, what: str) -> list[object]:
        return [None] if what == "watch" else [self.seconds, -5]


@pytest.mark.parametrize("told", [1e-9, -1.0, math.nan, math.inf, "0.01", None, 10**6])
def test_forged_events_are_held_to_our_own_clock(told):
    watch = EventStopwatch(Telling(told), beyond=0.01)
    _, cost = watch.time(Call(time.sleep, (0.05,), {}))
    assert 0.04 <= cost.counted <= cost.wall


def test_events_that_our_clock_allows_count():
    _, cost = EventStopwatch(Telling(0.045), beyond=0.04).time(Call(time.sleep, (0.05,), {}))
    assert cost.counted == 0.045
    assert EventStopwatch(Telling(0.045)).peak_bytes(Call(time.sleep, (0.0,), {})) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_events_wait_for_every_stream():
    clock, one = EventClock("cuda"), torch.randn(2048, 2048, device="cuda")
    seconds = []
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream(), torch.cuda.Stream()):
        with clock.measuring(), torch.cuda.stream(stream):
            for _ in range(20):
                one @ one
        seconds.append(clock.seconds)
    assert seconds[2] > 0.5 * seconds[0] > 0
    assert clock.bytes >= one.nbytes


def test_a_kata_without_workloads_says_so(grader):
    kata = toy.toy_kata("cost")
    with pytest.raises(UsageError, match=r"cost has nothing to time: there is no benches\.py"):
        grader.bench(kata, toy.made(""), Options(), SECONDS)


# ---- what is made of the numbers


@pytest.mark.parametrize(("pairs", "k"), [(6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (40, 14)])
def test_the_interval_is_made_of_the_right_order_statistics(pairs, k):
    assert rank(pairs) == k
    outside = 2 * sum(math.comb(pairs, i) for i in range(k)) / 2**pairs
    assert outside <= 0.05 < outside + 2 * math.comb(pairs, k) / 2**pairs


def test_fewer_than_six_pairs_say_nothing():
    with pytest.raises(ValueError, match="6 are the least"):
        interval([0.0] * 5)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "speed"),
    [
        (1.2, 1.06, 1.3, Speed.SLOWER),
        (0.8, 0.7, 0.94, Speed.FASTER),
        (1.0, 0.91, 1.09, Speed.ON_PAR),
        (1.03, 1.051, 1.06, Speed.SLOWER),
        (1.0, 0.8, 1.3, Speed.TOO_NOISY),
        (1.1, 1.04, 1.2, Speed.TOO_NOISY),
    ],
)
def test_the_verdict_follows_the_interval(ratio, low, high, speed):
    assert Interval(ratio, low, high, 9).speed is speed


def test_measuring_ends_when_the_interval_is_narrow():
    assert enough([0.001 * i for i in range(-6, 6)])
    assert not enough([0.001 * i for i in range(-4, 4)])
    assert not enough([0.05 * i for i in range(-6, 6)])


def test_clocks_disagree_only_beyond_their_noise():
    assert disagree(Interval(1.0, 0.98, 1.02, 9), Interval(2.0, 1.9, 2.1, 9))
    assert not disagree(Interval(1.0, 0.98, 1.02, 9), Interval(2.0, 0.5, 8.0, 9))
    assert not disagree(Interval(1.0, 0.98, 1.02, 9), Interval(1.1, 1.09, 1.11, 9))


# ---- the command


@pytest.fixture
def person(tmp_path, grader):
    (tmp_path / "here").mkdir()
    return Person(tmp_path / "here", tmp_path / "home", grader)


def test_the_command_prints_its_report_and_the_next_check_tells_of_it(person):
    path = toy.BANK / "solutions" / "speed" / "reference.py"
    said = person.kata("bench", "speed", "--file", path, "--json", bank=toy.BANK)
    report = json.loads(said.out)
    assert (said.code, report["kata"], report["clock"], report["format"]) == (0, "speed", "cpu", 1)
    wanted = {"name", "ratio", "low", "high", "pairs", "verdict", "peak_mb", "reference_peak_mb"}
    assert wanted <= set(report["workloads"][0])
    assert "Speed: rounds " in person.kata("check", "speed", "--file", path, bank=toy.BANK).out


def test_what_does_not_pass_is_not_timed(person):
    said = person.kata("bench", "speed", "--file", toy.BANK / "katas" / "speed" / "stub.py", bank=toy.BANK)
    assert said.code == 2
    assert "does not pass (0/100), and only what passes is timed" in said.err


def test_a_wrong_result_on_the_way_is_told_and_ends_with_1(person):
    path = person.where / "speed.py"
    path.write_text(toy.reference_text(toy.toy_kata("speed")) + WRONG["fewer rounds"])
    said = person.kata("bench", "speed", "--file", path, bank=toy.BANK)
    assert said.code == 1
    assert "what it returned is wrong" in said.out
