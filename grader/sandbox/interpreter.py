"""A worker in an interpreter of its own, for platforms where a warm process cannot be forked safely.

Run as `python -I -B -m grader.sandbox.interpreter SOCKET PRELOAD`.
"""

import os
import sys

from grader.sandbox import worker
from grader.sandbox.forkserver import run_child, warm_up

MISSING = ("user namespace", "mount namespace", "network namespace", "pid namespace", "scratch size")

if __name__ == "__main__":
    warm_up(sys.argv[2])
    os.closerange(int(sys.argv[1]) + 1, 4096)
    run_child(lambda: worker.serve(int(sys.argv[1]), MISSING))
