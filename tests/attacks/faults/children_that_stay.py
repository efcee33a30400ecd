"""Starts a grandchild that outlives its parent, holds the pipes open and computes for ever."""
# kata: toy-processes
# expect: double=passed loss=passed
import os
import subprocess
import sys
import time

LOOP = "import time\nwhile True: time.sleep(0.01)"


def double(x):
    subprocess.Popen([sys.executable, "-I", "-c", LOOP])
    if os.fork() == 0:
        if os.fork() == 0:
            while True:
                time.sleep(0.01)
        os._exit(0)
    return x + x


def loss(x):
    return float((x * x).mean())
