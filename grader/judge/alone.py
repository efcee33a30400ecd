"""A judge in an interpreter of its own, and so its workers: for platforms where forking is not safe.

Run as `python -I -B -m grader.judge.alone LINK PRELOAD`.
"""

import importlib
import socket
import sys

from grader.judge.sources import InterpreterWorkers
from grader.sandbox import interpreter, scratch
from grader.sandbox.confine import readable_python
from grader.sandbox.forkserver import Grounds, package_folder, run_child, warm_up


def main(fd: int, preload: str) -> None:
    workers = InterpreterWorkers(preload)
    # The worker imports what it needs while this process does the same: hence the late import of the template below.
    workers.start()
    base, _ = scratch.prepare_base(mountable=False)
    warm_up(preload)
    grounds = Grounds(interpreter.MISSING, readable_python(exclude=(package_folder(),)), base)
    link = socket.socket(fileno=fd)
    template = importlib.import_module("grader.judge.template")
    template.serve(link, template.in_turn(link), workers, grounds)
    workers.stop()


if __name__ == "__main__":
    run_child(lambda: main(int(sys.argv[1]), sys.argv[2]))
