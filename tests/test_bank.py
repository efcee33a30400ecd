"""Banks of katas on disk: kata.toml, the catalogue over several banks, places, hints."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.bank import (
    Catalogue,
    Kata,
    Limits,
    Part,
    builtin_bank,
    hint_text,
    is_slug,
    load_kata,
    sections,
    templates_folder,
)
from grader.errors import BadKata, UnknownKata, UsageError

STRANGE = Path(__file__).parent / "banks" / "strange"
CASES = sorted((STRANGE / "katas").iterdir())
WRONG = [folder for folder in CASES if (folder / "message.txt").exists()]
SOUND = [folder for folder in CASES if folder not in WRONG]


def write_kata(bank: Path, slug: str, **changes: object) -> Path:
    """A least kata.toml in `bank`; JSON's strings, numbers and lists are TOML too."""
    fields = {
        "format": 1,
        "title": slug,
        "summary": "s",
        "track": "t",
        "priority": "P0",
        "minutes": 10,
        "difficulty": 1,
    }
    fields |= {"preload": "numpy", "budget_seconds": 3} | changes
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    folder = bank / "katas" / slug
    folder.mkdir(parents=True)
    (folder / "kata.toml").write_text("\n".join([*lines, '[[parts]]\nid = "loss"\ntitle = "The loss"']))
    return folder


def slugs(catalogue: Catalogue) -> list[str]:
    return [kata.slug for kata in catalogue.katas]


# kata.toml


@pytest.mark.parametrize("folder", WRONG, ids=lambda folder: folder.name)
def test_a_wrong_toml_is_refused_in_one_line_with_file_field_and_remedy(folder):
    with pytest.raises(BadKata) as refused:
        load_kata(folder)
    message = str(refused.value)
    assert str(folder) in message
    assert "\n" not in message
    for fragment in (folder / "message.txt").read_text().splitlines():
        assert fragment in message


@pytest.mark.parametrize("folder", SOUND, ids=lambda folder: folder.name)
def test_a_sound_toml_is_read(folder):
    assert load_kata(folder).slug == folder.name


def test_every_key_reaches_the_kata():
    kata = load_kata(STRANGE / "katas" / "sound-whole")
    assert kata.parts == (Part("loss", "The loss", "P0", 12), Part("train", "The loop"))
    assert kata.limits == Limits(cpu_seconds=2.0, memory_mb=2048, processes=True, network="loopback")
    assert (kata.title, kata.problem, kata.track) == ("Every key there is: σ, β, ×", 19, "alignment")
    assert (kata.priority, kata.minutes, kata.difficulty, kata.budget_seconds) == ("P2", 38, 5, 2.5)
    assert (kata.prerequisites, kata.given) == (("sound-least",), ("tiny_gpt", "corpus"))
    assert (kata.preload, kata.requires) == ("transformers", ("hf",))
    assert kata.forbidden[0].name == "torch.nn.functional.kl_div"
    assert kata.references[0].url == "https://arxiv.org/abs/2305.18290"


def test_what_is_left_out_has_its_default():
    kata = load_kata(STRANGE / "katas" / "sound-least")
    assert kata.problem is None
    assert kata.prerequisites == kata.given == kata.requires == kata.forbidden == kata.references == ()
    assert kata.limits == Limits(cpu_seconds=5.0, memory_mb=1024, processes=False, network="none")


def test_the_example_of_the_authoring_guide_is_read(tmp_path):
    guide = (Path(__file__).parents[1] / "docs" / "authoring.md").read_text(encoding="utf-8")
    folder = write_kata(tmp_path, "dpo")
    (folder / "kata.toml").write_text(re.search("```toml\n(.*?)```", guide, re.DOTALL)[1], encoding="utf-8")
    assert load_kata(folder).title == "Direct preference optimisation"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_toml_is_a_kata_or_a_refusal(tmp_path_factory, data):
    whole = (STRANGE / "katas" / "sound-whole" / "kata.toml").read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    damage = data.draw(
        st.binary(max_size=8) | st.sampled_from([b"-1", b"true", b"[]", b"{}", b'"', b"1979-05-27", b"nan"])
    )
    folder = tmp_path_factory.mktemp("bank") / "katas" / "damaged"
    folder.mkdir(parents=True)
    (folder / "kata.toml").write_bytes(whole[:start] + damage + whole[data.draw(st.integers(start, len(whole))) :])
    with contextlib.suppress(BadKata):
        assert isinstance(load_kata(folder), Kata)


# the kata's names and files


@given(
    st.text(max_size=20)
    | st.from_regex(r"[a-z][a-z0-9-]*", fullmatch=True)
    | st.sampled_from(["if", "a\n", "ä", "a/b"])
)
def test_a_slug_always_makes_a_module_name(text):
    if is_slug(text):
        compile(f"import {text.replace('-', '_')}", "a learner's file", "exec")
        assert re.fullmatch("[a-z0-9-]+", text)


@pytest.mark.parametrize("text", ["dpo", "kv-cache", "a", "bm25", "x--y-", "match"])
def test_these_name_a_kata(text):
    assert is_slug(text)


@pytest.mark.parametrize(
    "text", ["", "DPO", "kv_cache", "2fast", "-a", "a b", "a.b", "../a", "a\n", "naïve", "lambda", "is"]
)
def test_these_do_not_name_a_kata(text):
    assert not is_slug(text)


def test_a_kata_knows_where_its_files_lie(tmp_path):
    kata = load_kata(write_kata(tmp_path, "kv-cache", given=["tiny_gpt"]))
    katas, solutions = tmp_path / "katas" / "kv-cache", tmp_path / "solutions" / "kv-cache"
    assert (kata.bank, kata.folder, kata.solutions) == (tmp_path, katas, solutions)
    assert (kata.module_name, kata.attempt_name) == ("kv_cache", "kv_cache.py")
    assert (kata.prompt, kata.stub, kata.hints) == (katas / "prompt.md", katas / "stub.py", katas / "hints.md")
    assert (kata.checks, kata.probes) == (katas / "checks.py", katas / "probes.py")
    assert (kata.reference, kata.mistakes) == (solutions / "reference.py", (solutions / "mistakes.py",))
    assert kata.debrief == solutions / "debrief.md"
    assert kata.given_paths() == (tmp_path / "katas" / "_given" / "tiny_gpt.py",)


def test_alternatives_are_listed_by_name(tmp_path):
    kata = load_kata(write_kata(tmp_path, "dpo"))
    assert kata.alternatives() == ()
    folder = kata.solutions / "alternatives"
    folder.mkdir(parents=True)
    for name in ("loop.py", "einsum.py", "notes.md"):
        (folder / name).touch()
    assert kata.alternatives() == (folder / "einsum.py", folder / "loop.py")


def test_a_folder_may_be_given_relative_to_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(write_kata(tmp_path, "dpo"))
    assert load_kata(Path()).folder == tmp_path / "katas" / "dpo"


def test_an_unknown_part_is_told_with_the_known_ones(tmp_path):
    kata = load_kata(write_kata(tmp_path, "dpo"))
    assert kata.part("loss").title == "The loss"
    with pytest.raises(UsageError, match="dpo has no part 'train': its parts are loss"):
        kata.part("train")


# the catalogue


def test_a_wrong_kata_hides_no_other_and_is_told_when_asked_for():
    catalogue = Catalogue.of([STRANGE])
    assert sorted(slugs(catalogue)) == sorted(folder.name for folder in SOUND)
    listed = {folder for folder in WRONG if (folder / "kata.toml").exists() and not folder.name.startswith("_")}
    assert {folder for folder, _ in catalogue.broken} == listed
    with pytest.raises(BadKata, match="did you mean `minutes`"):
        catalogue.get("unknown-key")


def test_prerequisites_come_first_then_priority_then_number_then_slug(tmp_path):
    write_kata(tmp_path, "late", priority="P2", problem=1)
    write_kata(tmp_path, "own-b")
    write_kata(tmp_path, "own-a")
    write_kata(tmp_path, "tenth", problem=10, prerequisites=["deep", "elsewhere"])
    write_kata(tmp_path, "ninth", problem=9)
    write_kata(tmp_path, "deep", priority="P2", problem=21, prerequisites=["deeper"])
    write_kata(tmp_path, "deeper", priority="P2", problem=20)
    assert slugs(Catalogue.of([tmp_path])) == ["ninth", "deeper", "deep", "tenth", "own-a", "own-b", "late"]


def test_a_ring_of_prerequisites_loses_no_kata(tmp_path):
    for slug, needed in (("a", "b"), ("b", "c"), ("c", "a"), ("self", "self")):
        write_kata(tmp_path, slug, prerequisites=[needed])
    assert slugs(Catalogue.of([tmp_path])) == ["c", "b", "a", "self"]


def test_hidden_and_underscored_folders_are_no_katas(tmp_path):
    write_kata(tmp_path, "dpo")
    for name in ("_given", ".ipynb_checkpoints"):
        write_kata(tmp_path, name)
    catalogue = Catalogue.of([tmp_path])
    assert slugs(catalogue) == ["dpo"]
    assert not catalogue.broken


def test_a_slug_in_two_banks_is_refused_by_naming_both_and_the_rest_stays(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for bank in (ours, theirs):
        write_kata(bank, "dpo")
        write_kata(bank, f"of-{bank.name}")
    catalogue = Catalogue.of([ours, theirs])
    assert slugs(catalogue) == ["of-ours", "of-theirs"]
    with pytest.raises(BadKata, match=f"dpo is in {ours} and in {theirs}; rename"):
        catalogue.get("dpo")


def test_a_bank_named_twice_counts_once(tmp_path):
    write_kata(tmp_path, "dpo")
    assert slugs(Catalogue.of([tmp_path, tmp_path / "katas" / ".."])) == ["dpo"]


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        pytest.param("dpoo", "did you mean dpo?", id="mistyped"),
        pytest.param("kv_cache", "did you mean kv-cache?", id="module name"),
        pytest.param("cache", "did you mean kv-cache?", id="word of the slug"),
        pytest.param("Preference", "did you mean dpo?", id="word of the title"),
        pytest.param("19", "did you mean dpo", id="problem number"),
        pytest.param("zzzz", "'zzzz': `kata list` shows them all", id="like nothing"),
    ],
)
def test_an_unknown_kata_is_told_with_the_nearest_names(tmp_path, asked, nearest):
    write_kata(tmp_path, "dpo", title="Direct preference optimisation", problem=19)
    write_kata(tmp_path, "kv-cache", title="Keys and values, kept", problem=8)
    with pytest.raises(UnknownKata, match=re.escape(nearest)):
        Catalogue.of([tmp_path]).get(asked)


def test_no_more_than_three_names_are_offered(tmp_path):
    for number in range(1, 6):
        write_kata(tmp_path, f"loss-{number}")
    with pytest.raises(UnknownKata) as unknown:
        Catalogue.of([tmp_path]).get("loss")
    assert len(unknown.value.nearest) == 3


# where banks come from


def test_banks_of_the_variable_and_of_the_option_join_the_built_in_one(tmp_path, monkeypatch):
    for name in ("one", "two", "three"):
        write_kata(tmp_path / name, f"kata-of-bank-{name}")
    monkeypatch.setenv("KATA_BANK", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two"), ""]))
    catalogue = Catalogue.load([tmp_path / "three"])
    for name in ("one", "two", "three"):
        assert catalogue.get(f"kata-of-bank-{name}").bank == tmp_path / name
    assert set(slugs(Catalogue.of([builtin_bank()]))) < set(slugs(catalogue))


def test_a_bank_asked_for_by_name_must_be_one(tmp_path, monkeypatch):
    with pytest.raises(BadKata, match=r"--bank names .*, which holds no katas/"):
        Catalogue.load([tmp_path / "nowhere"])
    monkeypatch.setenv("KATA_BANK", str(tmp_path))
    with pytest.raises(BadKata, match=r"KATA_BANK names .*, which holds no katas/"):
        Catalogue.load()


def install(site: Path, name: str, source: str, value: str) -> None:
    """What pip leaves of a package with one module and one bank."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kata.banks]\n{name} = {value}\n")
    (site / f"{name}.py").write_text(source)


def test_an_installed_package_brings_its_bank_as_a_path_or_a_function(tmp_path, monkeypatch):
    write_kata(tmp_path / "red", "kata-of-red")
    write_kata(tmp_path / "blue", "kata-of-blue")
    install(tmp_path, "team_red", f"BANK = {str(tmp_path / 'red')!r}", "team_red:BANK")
    install(
        tmp_path,
        "team_blue",
        "from pathlib import Path\ndef bank(): return Path(__file__).parent / 'blue'",
        "team_blue:bank",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"kata-of-red", "kata-of-blue"} <= set(slugs(Catalogue.load()))


def test_an_installed_bank_that_fails_hides_no_kata(tmp_path, monkeypatch):
    install(tmp_path, "team_raises", "1 / 0", "team_raises:BANK")
    install(tmp_path, "team_number", "BANK = 3", "team_number:BANK")
    install(tmp_path, "team_empty", f"BANK = {str(tmp_path)!r}", "team_empty:BANK")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue = Catalogue.load()
    told = {path.name: str(error) for path, error in catalogue.broken}
    assert "ZeroDivisionError" in told["team_raises"]
    assert "a path or a function" in told["team_number"]
    assert "holds no katas/" in told["team_empty"]
    assert set(slugs(Catalogue.of([builtin_bank()]))) <= set(slugs(catalogue))


def test_a_checkout_is_read_beside_the_package_and_wins(tmp_path):
    package = tmp_path / "grader"
    assert builtin_bank(package) == tmp_path, "a checkout without a kata yet"
    write_kata(package / "_bank", "dpo")
    (package / "_templates").mkdir()
    assert (builtin_bank(package), templates_folder(package)) == (package / "_bank", package / "_templates")
    write_kata(tmp_path, "dpo")
    (tmp_path / "templates" / "kata").mkdir(parents=True)
    assert (builtin_bank(package), templates_folder(package)) == (tmp_path, tmp_path / "templates")


# hints

HINTS = """# Hints

## loss

### 1
The margin.

### 2
```python
## train
# a comment, no heading
```

### 3
Nearly.
"""


def test_hints_are_found_by_part_and_level(tmp_path):
    folder = write_kata(tmp_path, "dpo")
    (folder / "hints.md").write_text(HINTS, encoding="utf-8")
    kata = load_kata(folder)
    assert hint_text(kata, "loss", 1) == "The margin."
    assert hint_text(kata, "loss", 2) == "```python\n## train\n# a comment, no heading\n```"
    assert hint_text(kata, "loss", 3) == "Nearly."


@pytest.mark.parametrize(
    "text", ["", "## loss\n\nno levels", "## loss\n### 1\na\n### 2\n\n### 3\nc", "## train\n### 2\nelsewhere"]
)
def test_a_missing_hint_is_the_katas_fault_and_says_where_it_belongs(tmp_path, text):
    folder = write_kata(tmp_path, "dpo")
    (folder / "hints.md").write_text(text)
    with pytest.raises(BadKata, match=r"hints\.md: no text under `### 2` of `## loss`"):
        hint_text(load_kata(folder), "loss", 2)


def test_hints_that_are_not_there_or_not_text_are_the_katas_fault(tmp_path):
    folder = write_kata(tmp_path, "dpo")
    with pytest.raises(BadKata, match=r"hints\.md is not there"):
        hint_text(load_kata(folder), "loss", 1)
    (folder / "hints.md").write_bytes(b"## loss\n### 1\n\xff")
    with pytest.raises(BadKata, match="not UTF-8"):
        hint_text(load_kata(folder), "loss", 1)


def test_sections_split_at_one_depth_only():
    text = "lost\n## a\n\n### 1\nx\n# top\n## b\n"
    assert sections(text, 2) == {"a": "### 1\nx\n# top", "b": ""}
    assert sections(text, 3) == {"1": "x\n# top\n## b"}


# speed


def test_the_bank_imports_nothing_heavy():
    heavy = {"torch", "numpy", "pytest", "jinja2", "rich", "importlib.metadata"}
    code = "import sys; from grader.bank import Catalogue; Catalogue.load(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(loaded)


def test_twenty_one_katas_load_in_milliseconds(tmp_path):
    for number in range(1, 22):
        write_kata(tmp_path, f"kata-{number}", problem=number)
    costs = []
    for _ in range(3):
        start = time.process_time()
        assert len(Catalogue.of([tmp_path]).katas) == 21
        costs.append(time.process_time() - start)
    assert min(costs) < 0.05
