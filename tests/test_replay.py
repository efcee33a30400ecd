"""Replays: the script that is written for a failed check is run, without our code, and does again what was seen."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, NamedTuple

import pytest
import toy

from grader.grading import Options
from grader.verdict import CheckResult

RUNNER = """
import os, runpy, sys, traceback
import torch  # once, for all that are forked
sys.breakpointhook = lambda: print("stopped here")
for line in sys.stdin:
    folder, script = os.path.split(line.strip())
    if not os.fork():
        os.chdir(folder)
        sys.path.insert(0, folder)
        for number, name in (1, "out"), (2, "err"):
            os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY), number)
        try:
            runpy.run_path(script, run_name="__main__")
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def runner() -> Iterator[subprocess.Popen[str]]:
    """A Python of its own, isolated from ours, that runs the scripts whose paths it reads."""
    command = [sys.executable, "-I", "-c", RUNNER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        stream(process.stdin).close()


def stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


class Run(NamedTuple):
    result: CheckResult
    script: str
    printed: str
    error: str

    def value(self, name: str) -> str:
        """What the script printed of a result, on one line."""
        found = re.search(rf"^{name} = (.*?)(?=^\w+ = |^asked|\Z)", self.printed, re.MULTILINE | re.DOTALL)
        assert found, self.printed
        return " ".join(found[1].split())


@pytest.fixture
def replayed(grader, runner, tmp_path):
    """Grades an attempt, writes its replay beside it as the command line does, and runs it."""

    def replay(slug: str, source: str, check: str) -> Run:
        kata = toy.toy_kata(slug)
        attempt = toy.changed(kata, source)
        graded = grader.grade(kata, attempt, Options(exactly=(check,), write_replay=True))
        (result,) = [found for found in graded.verdict.checks if found.id == check]
        assert result.state in ("failed", "error"), result
        assert graded.replay is not None
        assert graded.replay.check == check
        (tmp_path / kata.attempt_name).write_bytes(attempt.data)
        for given in kata.given_paths():
            shutil.copy(given, tmp_path)
        script = tmp_path / "replay_it.py"
        script.write_text(graded.replay.script)
        script.with_suffix(graded.replay.data_suffix).write_bytes(graded.replay.data)
        print(script, file=stream(runner.stdin), flush=True)
        assert stream(runner.stdout).readline() == "done\n"
        return Run(result, graded.replay.script, (tmp_path / "out").read_text(), (tmp_path / "err").read_text())

    return replay


def test_a_call_with_arrays_is_made_again(replayed):
    wrong = "def length(vector, unit): return float(np.abs(vector).sum())"
    done = replayed("lengths", wrong, "test_lengths_are_in_metres")
    assert float(done.value("r0")) == pytest.approx(float(done.result.got), rel=1e-5)
    assert done.printed.startswith("stopped here")
    assert "torch" not in done.script
    assert "grader" not in done.script
    assert f"# expected: {done.result.expected}" in done.script


def test_the_learners_own_error_comes_again_at_the_last_call(replayed):
    wrong = "def length(vector, unit): return METRES['mile']"
    done = replayed("lengths", wrong, "test_lengths_are_in_metres")
    assert done.error.rstrip().endswith("KeyError: 'mile'")
    assert wrong in done.error
    assert "# what happened: KeyError: 'mile'" in done.script


FORGETFUL = """
class Stack(Stack):
    def push(self, item):
        if len(self.items) == 3:
            self.items.append("rest")
            raise OverflowError
        return super().push(item)
"""


def test_an_expected_error_before_the_last_call_does_not_stop_the_script(replayed):
    done = replayed("handles", FORGETFUL, "test_a_full_stack_refuses")
    assert "raised OverflowError()" in done.printed
    assert done.printed.rstrip().endswith("[1, 2, 3, 'rest']")


def test_handles_become_names(replayed):
    done = replayed("handles", "def total(*stacks): return len(stacks)", "test_handles_are_arguments")
    assert done.value("r4") == done.result.got == "2"
    assert "handles.total(r0, r1)" in done.script or "handles.total(r0, r2)" in done.script


RENAMED = """
_pair = pair


def pair():
    first, rest = _pair()
    rest["again"].name = "last"
    return first, rest
"""


def test_handles_in_containers_are_found_again(replayed):
    done = replayed("handles", RENAMED, "test_handles_come_in_containers")
    assert done.value("r2") == "last"
    assert "r0[1]['again'].name" in done.script


def test_answers_of_the_checks_functions_are_given_again(replayed):
    wrong = "def find_bad(nodes, test): return {node for node in nodes[1:] if test([node])} | {nodes[0]}"
    done = replayed("callbacks", wrong, "test_the_bad_ones_are_found")
    assert done.value("r0") == "{'node-0'}"
    assert done.printed.count("asked") == 31
    assert "Oracle" not in done.script


ONE_TOO_MANY = """
def smallest(oracle, low, high):
    for x in range(low, high + 1):
        try:
            oracle(x)
        except ValueError as error:
            print("no:", error)
            continue
        return x + 1
"""


def test_errors_of_the_checks_functions_are_raised_again(replayed):
    done = replayed("callbacks", ONE_TOO_MANY, "test_a_refusal_is_no_answer")
    assert done.printed.count("no: too small") == 5
    assert done.value("r0") == done.result.got == "6"


def test_gradients_are_taken_again(replayed):
    wrong = "def softmax(x): return (torch.softmax(x, -1) - x).detach() + x"
    done = replayed("gradients", wrong, "test_a_chosen_upstream_gradient")
    assert done.value("r1") == "(tensor([[1., 0., 0.]]),)"
    assert "[1.0, 0.0, 0.0]" in done.result.got


def test_gradients_of_parameters_are_taken_again(replayed):
    wrong = "def pull(model, x, frozen, scale=1.0): return ((model(x) - frozen) ** 2).sum(-1), len(x)"
    done = replayed("gradients", wrong, "test_gradients_reach_input_and_parameters")
    assert done.value("r2").count("tensor(") == 4
    assert not done.error


def test_a_generator_comes_in_its_state(replayed):
    wrong = "_s = sample\ndef sample(probabilities, n, generator): return _s(probabilities, n, generator)[:5]"
    done = replayed("sampling", wrong, "test_draws_follow_the_distribution")
    assert done.value("r0") == f"tensor({done.result.got.partition('= ')[2]})"


def test_the_global_generators_are_seeded_as_they_were(replayed):
    wrong = "def from_the_worker(): return [1 + random.random(), float(np.random.random())]"
    done = replayed("sampling", wrong, "test_attempt_and_reference_start_alike")
    first, told = (float(text.strip("[]").split(",")[0]) for text in (done.value("r0"), done.result.got))
    assert first == pytest.approx(told, rel=1e-5)


SKIPS_A_STEP = """
_load = load


def load(path):
    trainer = _load(path)
    trainer.steps += 1
    return trainer
"""


def test_a_new_process_is_a_fresh_module_and_its_files_are_in_a_new_folder(replayed):
    done = replayed("resume", SKIPS_A_STEP, "test_training_goes_on_in_a_new_process")
    assert "importlib.reload(resume)" in done.script
    assert "kata-scratch" not in done.script
    assert done.printed.rstrip().endswith("= 4")
    assert done.result.got == "4"


def test_what_only_a_probe_saw_is_said_and_left_out(replayed):
    wrong = "_step = train_step\ndef train_step(model, x, target, lr): return _step(model, x, target, -lr)"
    done = replayed("gradients", wrong, "test_a_step_is_judged_by_its_weights")
    assert "# here the check looked inside with code of its own (weights)" in done.script
    assert not done.error
    assert done.printed.index("stopped here") < done.printed.index("r1 = ")


def test_every_plain_value_can_be_written(replayed):
    wrong = "def echo(value): return 'device' if type(value) is torch.device else value"
    done = replayed("values", wrong, "test_every_type_travels_both_ways")
    assert not done.error
    assert done.printed.rstrip().endswith("= device")


def test_a_check_without_a_call_that_can_be_made_again_has_no_replay(grader):
    kata = toy.toy_kata("states")
    graded = grader.grade(kata, toy.changed(kata, "raise SystemExit"), Options(write_replay=True))
    assert graded.replay is None


TAILS = """
def coin():
    drawn = random.random()
    print(drawn)
    return drawn > 2
"""


def test_a_check_that_was_repeated_is_replayed_with_the_seed_of_the_last_time(replayed):
    done = replayed("sampling", TAILS, "test_luck_is_tried_twice")
    assert done.result.output.strip() in done.printed
