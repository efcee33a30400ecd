import os

os.sched_setaffinity(victim, os.sched_getaffinity(0))
