"""Right, and leaves what it can for the attempts after it: files, variables, modules, threads, and a canary."""
# expect: double=passed loss=passed find=passed
# checks: all
# with: right
import os
import sys
import threading
import time

CANARY = "CANARY-" + "PREVIOUS-4e21"
kept = [CANARY * 100 for _ in range(1000)]


def leave():
    sys.planted = kept
    os.environ["planted"] = CANARY
    sys.modules["planted"] = sys
    with open("planted", "w") as file:
        file.write(CANARY)
    threading.Thread(target=time.sleep, args=(100,), daemon=True).start()


leave()
