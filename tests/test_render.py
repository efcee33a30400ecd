"""What is shown, word for word. `pytest tests/test_render.py --update-golden` writes tests/golden/ anew."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cli_tools import BANK, SLUG
from rich.console import RenderableType

from grader.bank import Part, load_kata
from grader.errors import HistoryError
from grader.history import Progress, Standing, Version
from grader.practice.check import Finish, Outcome
from grader.practice.doctor import Finding, Health
from grader.practice.lessons import Hint
from grader.practice.progress import Overview, Row
from grader.printable import printable
from grader.render import katas, pages
from grader.render.machine import finding_view
from grader.render.screen import Screen
from grader.render.verdict import replayed_view, verdict_view
from grader.verdict import AttemptRef, CheckResult, MistakeMatch, PartScore, Seconds, State, Verdict

GOLDEN = Path(__file__).parent / "golden"
Compare = Callable[[str, str], None]

KATA = replace(
    load_kata(BANK / "katas" / SLUG),
    parts=(
        Part("loss", "The loss"),
        Part("train", "A training loop"),
        Part("extra", "More of the same, in a long line"),
    ),
)
LATER = load_kata(BANK / "katas" / "later-on")
TITLE = "stays finite at large margins, whatever the sign of the margin and however large the batch"
HOSTILE = "\x1b[31mred\x1b[0m [bold]markup[/bold] \u202egnp.exe\x07\r\x9b2J"
"""What would colour, move, reorder or ring, were it obeyed."""


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Compare:
    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), "pytest --update-golden writes it anew"

    return compare


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(*views: RenderableType, width: int = 80, encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Screen(out, io.StringIO(), io.StringIO(), width=width).show(*views)
    out.seek(0)
    return out.read()


def result(state: State, *, id: str = "", part: str = "loss", points: int = 10, **more: object) -> CheckResult:
    title = f"a check whose state is {state.value.replace('_', ' ')}"
    fields = {"id": id or f"test_{state.value}", "part": part, "title": title, "points": points, "state": state}
    return CheckResult(**{**fields, **more})  # type: ignore[arg-type]  # a table of fields


FAILURE = result(
    State.FAILED,
    title=TITLE,
    message="4 of 4 elements not finite; worst at [0]: got inf, wanted 200.0",
    call="dpo_loss(policy_chosen_logps=f32[4], policy_rejected_logps=f32[4], …, beta=0.1)",
    expected="200.0   ±1e-4 relative",
    got="inf",
    mistake=MistakeMatch("two_steps", "log(sigmoid(x)) overflows when it is computed in two steps: use logsigmoid."),
    output="step 1\nstep 2\n",
)
REASONS = {
    State.ERROR: "ZeroDivisionError: division by zero\nline 12, in dpo_loss: x = 1 / 0\nline 3, in helper: return f(x)",
    State.TIMEOUT: "still computing after 5 s",
    State.MEMORY: "out of memory: 3 GiB asked for, 1 GiB allowed",
    State.CRASHED: "the process was ended by SIGSEGV (a segmentation fault)",
    State.WAITING: f"waits for: {TITLE}",
    State.NOT_ATTEMPTED: "not attempted yet: loss: subtract the reference's log-ratio first",
    State.NOT_MEASURABLE: "peak memory cannot be read on this machine",
    State.HARNESS_FAULT: "a worker could not be forked: free some memory and check again",
}
EVERY_STATE = [
    result(State.PASSED),
    FAILURE,
    *(result(state, message=message, part="train") for state, message in REASONS.items()),
    result(State.NOT_SELECTED, part="train"),
    result(State.NOT_ATTEMPTED, id="test_extra_1", part="extra", points=7, message="not attempted yet"),
    result(State.WAITING, id="test_extra_2", part="extra", points=3, message="waits for: something"),
]


def outcome(
    checks: list[CheckResult], *, isolation: str = "full", missing: tuple[str, ...] = (), **more: object
) -> Outcome:
    parts = [
        PartScore(
            part.id,
            sum(check.points for check in checks if check.part == part.id and check.state is State.PASSED),
            sum(check.points for check in checks if check.part == part.id),
        )
        for part in KATA.parts
    ]
    verdict = Verdict(
        kata=SLUG,
        attempt=AttemptRef("pair_sums.py", "0" * 64),
        seed="8f21c0de5eed4242",
        device="cpu",
        isolation=isolation,
        isolation_missing=list(missing),
        score=sum(part.score for part in parts),
        max_score=sum(part.max for part in parts),
        passed=all(check.state is State.PASSED for check in checks),
        parts=parts,
        checks=checks,
        seconds=Seconds(0.34, 0.1, 0.1),
    )
    return Outcome(**{"kata": KATA, "verdict": verdict, "failed_runs": {}, **more})  # type: ignore[arg-type]


NO_FAULT = [check for check in EVERY_STATE if check.state is not State.HARNESS_FAULT]
ALL_PASSED = [result(State.PASSED, id=f"test_{part.id}", part=part.id, points=20) for part in KATA.parts]


class TestVerdict:
    def test_every_state_has_its_own_word(self, golden: Compare) -> None:
        golden("verdict-every-state", shown(verdict_view(outcome(EVERY_STATE))))

    def test_all_expands_every_failure(self, golden: Compare) -> None:
        golden("verdict-all", shown(verdict_view(outcome(NO_FAULT), expand_all=True, explain=True)))

    def test_a_wide_terminal_is_used_but_not_all_of_it(self, golden: Compare) -> None:
        assert shown(verdict_view(outcome(NO_FAULT)), width=200) == shown(verdict_view(outcome(NO_FAULT)), width=100)
        golden("verdict-wide", shown(verdict_view(outcome(NO_FAULT)), width=100))

    def test_a_narrow_terminal_still_shows_everything(self) -> None:
        text = shown(verdict_view(outcome(EVERY_STATE), expand_all=True), width=40)
        assert max(map(len, text.splitlines())) <= 40
        assert "dpo_loss" in text

    def test_a_pass_says_how_long_it_took_and_what_is_next(self, golden: Compare) -> None:
        finish = Finish(minutes=34.5, hints=2, next=LATER)
        golden("verdict-passed", shown(verdict_view(outcome(ALL_PASSED, finish=finish))))
        assert "All passed; no hints used" in shown(verdict_view(outcome(ALL_PASSED, finish=Finish(None, 0, None))))

    def test_a_selection_says_that_it_does_not_count(self, golden: Compare) -> None:
        checks = [
            result(State.PASSED),
            result(State.NOT_SELECTED, part="train"),
            result(State.NOT_SELECTED, id="test_x"),
        ]
        golden("verdict-selected", shown(verdict_view(outcome(checks, selected=True))))

    def test_what_was_not_begun_takes_one_line_a_part(self, golden: Compare) -> None:
        checks = [
            result(State.NOT_ATTEMPTED, id=part.id, part=part.id, message="not attempted yet") for part in KATA.parts
        ]
        golden("verdict-not-begun", shown(verdict_view(outcome(checks, altered=("tiny_gpt.py",)))))

    def test_less_than_full_isolation_says_which_layers_are_missing(self, golden: Compare) -> None:
        partial = verdict_view(outcome(ALL_PASSED, isolation="partial", missing=("landlock", "user namespace")))
        process = verdict_view(outcome(ALL_PASSED, isolation="process", missing=("seccomp",)))
        golden("verdict-isolation", shown(partial) + shown(process))

    def test_a_known_mistake_is_named_from_the_second_failure(self) -> None:
        once, twice = (shown(verdict_view(outcome([FAILURE], failed_runs={FAILURE.id: n}))) for n in (1, 2))
        assert "--explain" in once
        assert "use logsigmoid" not in once
        assert "use logsigmoid" in twice

    def test_hostile_text_is_shown_and_never_obeyed(self, golden: Compare) -> None:
        told = dict.fromkeys(("title", "message", "call", "expected", "got"), HOSTILE)
        hostile = result(State.FAILED, **told, output=f"{HOSTILE}\n\tindented\n{'x' * 5000}\n" + "line\n" * 40)
        text = shown(verdict_view(outcome([hostile], altered=(HOSTILE,))))
        assert all(character.isprintable() for character in text.replace("\n", ""))
        golden("verdict-hostile", text)

    def test_where_the_encoding_has_no_signs_there_are_letters(self, golden: Compare) -> None:
        golden("verdict-ascii", shown(verdict_view(outcome(NO_FAULT)), encoding="ascii"))

    def test_a_replayed_check(self, golden: Compare) -> None:
        script = Path("my kata/replay_test_failed.py")
        views = [replayed_view(KATA, FAILURE, script), replayed_view(KATA, FAILURE, None)]
        golden("replayed", shown(*views, replayed_view(KATA, result(State.PASSED), None)))


class TestOtherViews:
    def test_the_list(self, golden: Compare) -> None:
        rows = [Row(KATA, Standing(Progress.PASSED, 100)), Row(LATER, Standing(Progress.STARTED, 40))]
        golden("list", shown(katas.list_view([*rows, Row(KATA, Standing(Progress.NEW, None))])))

    def test_the_overview(self, golden: Compare) -> None:
        row = Row(KATA, Standing(Progress.STARTED, None))
        other = Row(LATER, Standing(Progress.STARTED, 40))
        views = [
            Overview(total=21, passed=0, started=(), next=KATA),
            Overview(total=21, passed=3, started=(row, other), next=LATER),
            Overview(total=21, passed=21, started=(), next=None),
        ]
        golden("overview", "\n".join(shown(katas.overview_view(view)) for view in views))

    def test_what_start_did(self, golden: Compare) -> None:
        paths = [Path(SLUG, name) for name in ("pair_sums.py", "PROMPT.md", "tiny_gpt.py")]
        views = [katas.started_view(KATA, paths[0], paths), katas.started_view(KATA, paths[0], [])]
        golden("started", "\n".join(map(shown, views)))

    @pytest.mark.usefixtures("utc")
    def test_the_history(self, golden: Compare) -> None:
        base = Version(1, 1_767_225_600.0, "a" * 64, "practice", 40, 100, False, False)
        versions = [
            replace(base, n=4, score=100, passed=True),
            replace(base, n=3, selected=True),
            replace(base, n=2, reason="reset", score=None, max_score=None, passed=None, selected=None),
            base,
        ]
        golden("history", shown(katas.history_view(KATA, versions), "", katas.history_view(KATA, [])))

    def test_what_the_doctor_found(self, golden: Compare) -> None:
        findings = [
            Finding("python", Health.GOOD, "3.11.7 at /usr/bin/python"),
            Finding("isolation", Health.NOTE, "partial: missing landlock"),
            Finding("history", Health.BAD, str(HistoryError(f"the history {HOSTILE} is damaged"))),
        ]
        golden("doctor", "".join(shown(finding_view(finding)) for finding in findings))

    def test_a_hint_in_a_pipe_says_its_level(self) -> None:
        text = pages.hint_text(Hint(KATA, KATA.parts[0], ("The idea.", "The steps.")))
        assert [line for line in text.splitlines() if line.startswith("#")] == [
            f"## {SLUG}, The loss: hint 1 of 3",
            f"## {SLUG}, The loss: hint 2 of 3",
        ]

    @pytest.mark.parametrize("view", [pages.markdown, pages.source, pages.difference])
    def test_a_page_is_laid_out_in_its_width(self, view: Callable[[str], RenderableType]) -> None:
        text = shown(view("# Title\n\n" + "word " * 40 + "\n\n```python\nx = 1\n```\n"))
        assert max(map(len, text.splitlines())) <= 80
        assert "x = 1" in text


@pytest.mark.parametrize("text", ["plain", "σ(β·x) → 日本語", "é", ""])
def test_ordinary_text_is_as_it_was(text: str) -> None:
    assert printable(text) == text
