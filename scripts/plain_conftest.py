"""What a plain judge would do: attempt and reference in the test's own process. For comparison: it can be forged."""

import os
from pathlib import Path

import pytest

from grader.bank import load_kata
from grader.judge.programs import read_programs
from grader.judge.rng import Rng
from grader.sandbox.program import load
from grader.sandbox.proxy import Conversation, LocalCarrier, Module
from grader.sandbox.servant import Servant

KATA = load_kata(Path(os.environ["PLAIN_KATA"]))
PROGRAMS = read_programs(KATA)


def plain() -> Module:
    carrier = LocalCarrier()
    carrier.servant = Servant(PROGRAMS.reference, load(PROGRAMS.reference), carrier.ask)
    return Module(Conversation(carrier, None))  # type: ignore[arg-type]  # no check of the katas compared asks its host


@pytest.fixture
def attempt() -> Module:
    return plain()


@pytest.fixture
def reference() -> Module:
    return plain()


@pytest.fixture
def rng() -> Rng:
    return Rng(0)
