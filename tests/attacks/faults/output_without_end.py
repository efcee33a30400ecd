"""Prints without end, from several threads, so that there is always something to read."""
# expect: double=timeout loss=passed find=passed
# with: right
# limit: 0.3
import os
import threading


def double(x):
    def pour():
        while True:
            os.write(1, b"x" * 65_536)

    for _ in range(4):
        threading.Thread(target=pour, daemon=True).start()
    pour()
