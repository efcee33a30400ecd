"""The README's transcripts are what the commands print. `make readme` writes them anew."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```\n", re.DOTALL)
REFERENCE = ROOT / "solutions" / "dpo" / "reference.py"
FORGOTTEN = ("logits = beta * _log_ratio_gap(pc, pr, rc, rr)", "logits = beta * (pc - pr)")

# What differs from run to run, by what it is replaced with.
VARYING = (
    (re.compile(r"seed [0-9a-f]{16}"), "seed 8f21c0de5eed4242"),
    (re.compile(r"\d+\.\d+ s\b"), "0.6 s"),
    (re.compile(r"\d+ (minutes?|seconds?|s) (since|ago)"), r"1 \1 \2"),
)


def settled(text: str) -> str:
    for pattern, constant in VARYING:
        text = pattern.sub(constant, text)
    lines = [line.rstrip() for line in text.strip().splitlines()]
    if any(line.startswith("All passed") for line in lines):
        lines = [*lines[:12], "…", *lines[-3:]]  # the rest is more of the same
    return "\n".join(lines) + "\n"


def transcripts(folder: Path) -> list[str]:
    """What the README's commands print, one after the other, by a learner who first forgets the reference model."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "KATA_HOME": str(folder / "home")}
    environment |= {"COLUMNS": "100", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    right = REFERENCE.read_text()
    wrong = right.replace(*FORGOTTEN)
    assert wrong != right
    attempts = iter([wrong, right])
    printed = []
    for block in BLOCK.findall(README.read_text()):
        command = block.partition("\n")[0].removeprefix("$ ")
        if command.startswith("kata check"):
            (folder / "dpo" / "dpo.py").write_text(next(attempts))
        done = subprocess.run(command.split(), cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        printed.append(f"$ {command}\n{done.stdout}")
    return printed


def test_transcripts_are_what_the_commands_print(tmp_path: Path) -> None:
    shown = [settled(block) for block in BLOCK.findall(README.read_text())]
    assert shown == [settled(text) for text in transcripts(tmp_path)]


def update() -> None:
    with tempfile.TemporaryDirectory() as folder:
        texts = iter([f"```console\n{settled(text)}```\n" for text in transcripts(Path(folder))])
    README.write_text(BLOCK.sub(lambda _match: next(texts), README.read_text()))


if __name__ == "__main__":
    update()
