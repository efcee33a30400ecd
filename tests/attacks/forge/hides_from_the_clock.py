"""Stops the clocks it can reach, and says that no time has passed, while it computes without end."""
# expect: double=timeout loss=timeout find=timeout
# process: same
# limit: 0.2
import resource
import signal
import time

time.monotonic = time.perf_counter = time.process_time = time.time = lambda: 0.0
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        continue
try:
    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
except (OSError, ValueError):
    pass


def double(x):
    while True:
        pass


loss = double


def find(oracle, n):
    double(0)
