"""Returns zeros at once, and lets a thread write the right values into them afterwards."""
# expect: double=failed loss=failed find=failed
# process: same
import threading
import time

import numpy as np


def double(x):
    result = np.zeros_like(x)

    def later():
        time.sleep(0.001)
        result[...] = 2 * x

    threading.Thread(target=later, daemon=True).start()
    return result


def loss(x):
    return 0.0


def find(oracle, n):
    return -1
