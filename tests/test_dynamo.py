"""The stand-in for torch's compiler: optimizers work without it, and whoever wants the compiler gets the real one."""

import subprocess
import sys

SET_UP = """
import sys, torch
from grader.sandbox.dynamo import Standin, stand_in
stand_in()
here = lambda: isinstance(sys.modules["torch._dynamo"], Standin)
"""


def run(script: str) -> str:
    return subprocess.run([sys.executable, "-c", SET_UP + script], capture_output=True, text=True, check=True).stdout


def test_optimizers_step_as_ever_and_load_no_compiler() -> None:
    steps = """
p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
for make in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    optimizer = make([p], lr=0.5)
    (p * p).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
print(here(), p.tolist())
"""
    lean, plain = run(steps), run("del sys.modules['torch._dynamo'], torch._dynamo\n" + steps.replace("here()", "True"))
    assert lean == plain


def test_asking_for_more_brings_the_compiler_in() -> None:
    assert (
        run("print(here(), torch.compile(lambda x: x * 2, backend='eager')(torch.ones(1)).item(), here())")
        == "True 2.0 False\n"
    )


def test_its_submodules_can_be_imported() -> None:
    assert (
        run("import torch._dynamo.config as config; print(config.__name__, here())") == "torch._dynamo.config False\n"
    )


def test_who_looks_through_all_modules_brings_no_compiler_in() -> None:
    assert run("import inspect; inspect.getmodule(inspect.currentframe()); print(here())") == "True\n"


def test_a_process_group_is_made_without_the_compiler() -> None:
    script = """
import tempfile, torch.distributed as dist
place = "file://" + tempfile.mkdtemp() + "/place"
dist.init_process_group("gloo", init_method=place, rank=0, world_size=1)
dist.destroy_process_group()
print(here())
"""
    assert run(script) == "True\n"
