"""What the forkserver does before it forks: all of it succeeds, and nothing is left that a fork could stumble over."""

import subprocess
import sys

import pytest

REHEARSED = """
import os, sys, linecache
{imports}
from grader.sandbox.rehearsal import rehearse
print(rehearse(), "rehearsal" in sys.modules, "rehearsal.py" in linecache.cache)
print("torch" in sys.modules)
if sys.platform == "linux":
    assert len(os.listdir("/proc/self/task")) == 1, "a thread is running"
"""


NUMPY = "import numpy"
TORCH = "import torch, grader.sandbox.dynamo as dynamo; torch.set_num_threads(1); dynamo.stand_in()"


@pytest.mark.parametrize("imports", [NUMPY, TORCH], ids=["numpy", "torch"])
def test_every_request_of_the_rehearsal_is_answered_and_no_thread_or_source_stays(imports: str) -> None:
    script = REHEARSED.format(imports=imports)
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told == f"{{'ok'}} False False\n{'torch' in imports}\n"
