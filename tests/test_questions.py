"""Conceptual questions: files on disk, what lint says of them, and that the bank's own keep what they promise."""

import contextlib
import math
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from cli_tools import BANK, SLUG
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.bank import Catalogue, builtin_bank
from grader.bank.questions import KINDS, BankFile, Question, Questions, of_bank, of_kata
from grader.errors import BadKata
from grader.grading import Grader
from grader.lint import Rule, lint_all
from grader.lint import questions as lint

CASES = sorted((Path(__file__).parent / "banks" / "questions").iterdir())
WRONG = [folder for folder in CASES if (folder / "message.txt").exists()]
SOUND = [folder for folder in CASES if folder not in WRONG]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A bank with three sound questions, one of them a kata's own, to be broken."""
    shutil.copytree(BANK, tmp_path / "bank")
    return tmp_path / "bank"


@pytest.fixture(scope="module")
def shipped() -> tuple[Question, ...]:
    return Questions.load(Catalogue.of([builtin_bank()])).all


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def found_in_bank(bank: Path) -> str:
    return "\n".join(lint.of_bank(bank, Catalogue.of([bank])).messages)


def found_in_kata(bank: Path) -> str:
    catalogue = Catalogue.of([bank])
    return "\n".join(lint.of_one(catalogue.get(SLUG), catalogue))


# The files


@pytest.mark.parametrize("folder", WRONG, ids=lambda folder: folder.name)
def test_a_wrong_file_is_refused_in_one_line_with_file_place_and_remedy(folder: Path) -> None:
    with pytest.raises(BadKata) as refused:
        of_bank(folder)
    message = str(refused.value)
    assert str(folder / "questions.toml") in message
    assert "\n" not in message
    for fragment in (folder / "message.txt").read_text().splitlines():
        assert fragment in message


@pytest.mark.parametrize("folder", SOUND, ids=lambda folder: folder.name)
def test_a_sound_file_is_read(folder: Path) -> None:
    assert of_bank(folder).format == 1


def test_line_breaks_are_spaces_and_empty_lines_begin_paragraphs() -> None:
    (question,) = of_bank(CASES[0].parent / "sound-whole").questions
    assert question.answer == "That is it.\n\nAnd more."
    assert question.misconception == "Not that."
    assert question.katas == ("pair-sums", "later-on")


def test_a_bank_or_a_kata_without_a_file_has_no_questions(bank: Path) -> None:
    for file in bank.rglob("questions.toml"):
        file.unlink()
    catalogue = Catalogue.of([bank])
    assert of_bank(bank).questions == of_kata(catalogue.get(SLUG)).questions == ()
    assert Questions.load(catalogue) == Questions(())


def test_a_katas_own_questions_are_tied_to_it(bank: Path) -> None:
    (own,) = of_kata(Catalogue.of([bank]).get(SLUG)).questions
    assert own.katas == (SLUG,)


def test_a_katas_file_declares_no_topics(bank: Path) -> None:
    file = bank / "solutions" / SLUG / "questions.toml"
    edit(file, "format = 1\n", 'format = 1\n[[topics]]\nid = "sums"\npillar = "toys"\ntitle = "Sums"\n')
    with pytest.raises(BadKata, match=f"topics: unknown key.*`kata lint {SLUG}`"):
        of_kata(Catalogue.of([bank]).get(SLUG))


def test_a_broken_file_is_told_and_hides_no_other(bank: Path) -> None:
    edit(bank / "questions.toml", "format = 1", "format = one")
    found = Questions.load(Catalogue.of([bank]))
    assert [question.id for question in found.all] == ["max-of-nothing"]
    assert [str(bank / "questions.toml") in str(error) for error in found.broken] == [True]


def test_of_an_id_in_two_banks_the_first_counts(bank: Path) -> None:
    edit(bank / "questions.toml", "What is the sum of no numbers?", "Other?")
    shutil.rmtree(bank / "katas")
    (bank / "katas").mkdir()
    texts = [question.text for question in Questions.load(Catalogue.of([BANK, bank])).all]
    assert "What is the sum of no numbers?" in texts
    assert "Other?" not in texts


def test_the_example_of_the_authoring_guide_is_read(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "authoring.md").read_text(encoding="utf-8")
    example = re.search(r"## questions.toml.*?```toml\n(.*?)```", guide, re.DOTALL)
    assert example
    (tmp_path / "questions.toml").write_text(example[1], encoding="utf-8")
    read = of_bank(tmp_path)
    assert [question.topic for question in read.questions] == [topic.id for topic in read.topics]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_bank_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = (CASES[0].parent / "sound-whole" / "questions.toml").read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    damage = data.draw(st.binary(max_size=8) | st.sampled_from([b"-1", b"true", b"[]", b"{}", b'"', b"[[questions]]"]))
    folder = tmp_path_factory.mktemp("bank")
    (folder / "questions.toml").write_bytes(whole[:start] + damage + whole[data.draw(st.integers(start, len(whole))) :])
    with contextlib.suppress(BadKata):
        assert isinstance(of_bank(folder), BankFile)


def test_reading_questions_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "pytest", "jinja2", "rich"}
    code = "import sys; from grader.bank import questions, Catalogue; questions.Questions.load(Catalogue.load())"
    loaded = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not heavy & set(loaded.stdout.split())


# What lint says


def test_good_questions_are_no_finding(bank: Path) -> None:
    assert (found_in_bank(bank), found_in_kata(bank)) == ("", "")
    assert lint.of_bank(bank, Catalogue.of([bank])).total == 3


def test_a_topic_has_to_be_declared(bank: Path) -> None:
    edit(bank / "questions.toml", 'topic = "sums"\nkind = "derive"', 'topic = "summs"\nkind = "derive"')
    assert "sum-one-to-n is on 'summs', which is no topic" in found_in_bank(bank)


def test_a_pillar_is_that_of_the_topic(bank: Path) -> None:
    edit(bank / "solutions" / SLUG / "questions.toml", 'pillar = "toys"', 'pillar = "games"')
    assert "max-of-nothing is of the pillar 'games', and its topic 'maxima' of 'toys'" in found_in_kata(bank)


def test_a_question_is_tied_to_katas_that_exist(bank: Path) -> None:
    edit(bank / "questions.toml", 'katas = ["pair-sums"]', 'katas = ["pair-sums", "par-sums"]')
    assert found_in_bank(bank).startswith("questions.toml: sum-one-to-n is tied to 'par-sums', which is no kata")


def test_an_id_is_there_once_in_a_bank(bank: Path) -> None:
    edit(bank / "solutions" / SLUG / "questions.toml", "max-of-nothing", "sum-of-nothing")
    assert "sum-of-nothing is the id of a question of questions.toml too: rename one" in found_in_kata(bank)


def test_no_id_is_there_in_two_katas(bank: Path) -> None:
    other = bank / "solutions" / "later-on" / "questions.toml"
    other.parent.mkdir()
    shutil.copy(bank / "solutions" / SLUG / "questions.toml", other)
    assert "max-of-nothing is the id of a question of solutions/" in found_in_bank(bank)


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        ("questions = 4", "the bank has 3 of at least 4 questions"),
        ("each_topic = 2", "maxima has 1 of at least 2 questions"),
        ("each_kind = 1", "sums has 0 of at least 1 questions to judge"),
    ],
)
def test_a_bank_is_held_to_what_it_promises(bank: Path, promise: str, said: str) -> None:
    edit(bank / "questions.toml", "format = 1\n", f"format = 1\n[coverage]\n{promise}\n")
    assert said in found_in_bank(bank)


def test_a_broken_file_is_a_finding_of_its_own(bank: Path) -> None:
    edit(bank / "solutions" / SLUG / "questions.toml", "format = 1", "format = 2")
    assert "is newer than this `kata` reads" in found_in_kata(bank)
    assert found_in_bank(bank) == "", "the kata's report tells it"
    edit(bank / "questions.toml", "format = 1", "formt = 1")
    assert "required key is missing" in found_in_bank(bank)


def test_linting_all_reports_the_questions_of_each_bank_that_has_some(bank: Path) -> None:
    shutil.rmtree(bank / "katas")
    shutil.rmtree(bank / "solutions")
    edit(bank / "questions.toml", 'katas = ["pair-sums"]', "")
    with Grader() as grader:
        (good,) = lint_all(Catalogue.of([bank]), grader)
        edit(bank / "questions.toml", 'kind = "derive"', 'kind = "prove"')
        (bad,) = lint_all(Catalogue.of([bank]), grader)
    assert (good.kata, good.passed, good.figures.questions) == ("questions.toml", True, 2)
    assert [finding.rule for finding in bad.findings] == [Rule.QUESTIONS]
    assert "(in 'sum-one-to-n')" in bad.findings[0].message


# The questions that ship


def test_the_bank_that_ships_keeps_what_it_promises() -> None:
    bank = builtin_bank()
    catalogue = Catalogue.of([bank])
    assert lint.of_bank(bank, catalogue).messages == []
    assert {kata.slug: list(lint.of_one(kata, catalogue)) for kata in catalogue.katas} == {
        kata.slug: [] for kata in catalogue.katas
    }
    coverage = of_bank(bank).coverage
    assert (coverage.questions >= 150, coverage.each_topic >= 3, coverage.each_kind >= 1) == (True, True, True)


def test_questions_stand_by_pillar_and_topic_and_have_every_kind(shipped: tuple[Question, ...]) -> None:
    file = of_bank(builtin_bank())
    places = [topic.id for topic in file.topics]
    order = [places.index(question.topic) for question in file.questions]
    assert order == sorted(order)
    pillars = [topic.pillar for topic in file.topics]
    assert sum(one != other for one, other in pairwise(pillars)) == len(set(pillars)) - 1
    assert {question.kind for question in shipped} == set(KINDS)


def test_no_rubric_says_the_same_twice(shipped: tuple[Question, ...]) -> None:
    assert [question.id for question in shipped if len(set(question.rubric.levels)) < 3] == []


def test_answers_are_short(shipped: tuple[Question, ...]) -> None:
    assert {question.id: len(question.answer) for question in shipped if not 60 < len(question.answer) < 800} == {}


def test_a_source_has_one_title_and_one_address(shipped: tuple[Question, ...]) -> None:
    titles: dict[str, set[str]] = {}
    for source in (source for question in shipped for source in question.sources):
        titles.setdefault(source.title, set()).add(source.url)
    assert {title: urls for title, urls in titles.items() if len(urls) > 1} == {}


def interval(p: float, n: int) -> float:
    return 1.96 * math.sqrt(p * (1 - p) / n)


FIGURES = [
    ("heads-gqa-cache", "327,680 bytes", f"{2 * 80 * 8 * 128 * 2:,} bytes"),
    ("adam-first-step", "3.16", f"{0.1 / math.sqrt(0.001):.2f}"),
    ("ce-initial-loss", "10.82", f"{math.log(50257):.2f}"),
    ("scaling-compute-optimal", "2.9 billion", f"{math.sqrt(1e21 / 120) / 1e9:.1f} billion"),
    ("data-minhash-curve", "0.061, 0.613, 0.947", ", ".join(f"{1 - (1 - s**8) ** 16:.3f}" for s in (0.5, 0.7, 0.8))),
    ("kl-best-of-n", "3.17", f"{math.log(64) - 63 / 64:.2f}"),
    ("dpo-ipo-kto-targets", "= 22", f"= {math.log(9) / 0.1:.0f}"),
    ("grpo-advantage", "2.47", f"{0.875 / math.sqrt((0.875**2 + 7 * 0.125**2) / 7):.2f}"),
    ("cot-false-positives", "= 0.51", f"= {0.095 / (0.095 + 0.09):.2f}"),
    ("rs-how-many-samples", "0.96", f"{1 - 0.95**64:.2f}"),
    ("lora-parameters", "1,310,720", f"{2 * 16 * 8192 + 2 * 16 * 5120 + 3 * 16 * 18432:,}"),
    ("qlora-memory", "36.4 GB", f"{70.6 * (4 + 8 / 64 + 32 / (64 * 256)) / 8:.1f} GB"),
    ("qlora-memory", "207 million", f"{80 * 16 * (2 * 16384 + 2 * 9216 + 3 * 36864) / 1e6:.0f} million"),
    ("spec-expected-tokens", "3.36", f"{(1 - 0.8**5) / 0.2:.2f}"),
    ("sharding-zero-table", "31.4; 2P + 14P/64 = 16.6", f"{30 + 90 / 64:.1f}; 2P + 14P/64 = {15 + 105 / 64:.1f}"),
    ("sharding-tensor-parallel", "75 GB, 0.17 s", f"{560 * 2**27 / 1e9:.0f} GB, {560 * 2**27 / 450e9:.2f} s"),
    ("window-cache-size", "8.9 GB", f"{(8 * 131072 + 40 * 1024) * 8192 / 1e9:.1f} GB"),
    ("metrics-pass-at-k", "0.917", f"{1 - math.comb(7, 5) / math.comb(10, 5):.3f}"),
    ("metrics-bits-per-byte", "0.742", f"{1.8 / (math.log(2) * 3.5):.3f}"),
    ("injection-many-tries", "0.95", f"{1 - 0.99**300:.2f}"),
    ("rag-ndcg-by-hand", "0.651", f"{(1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3)):.3f}"),
    ("suite-sample-size", "± 6.9", f"± {100 * interval(0.5, 200):.1f}"),
    ("mathfly-majority", "0.787", f"{sum(math.comb(15, k) * 0.6**k * 0.4 ** (15 - k) for k in range(8, 16)):.3f}"),
    ("million-flops", "513 GB", f"{1e6 * 128256 * 4 / 1e9:.0f} GB"),
    ("sparse-reach", "257,985", f"{63 * 4095:,}"),
]


@pytest.mark.parametrize(("id", "stated", "computed"), FIGURES, ids=[figure[0] for figure in FIGURES])
def test_a_figure_of_an_answer_is_what_is_computed(
    shipped: tuple[Question, ...], id: str, stated: str, computed: str
) -> None:
    (question,) = (question for question in shipped if question.id == id)
    assert stated == computed
    assert stated in question.answer
