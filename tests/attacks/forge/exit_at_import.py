"""Ends the process with exit code 0 before it has defined anything: no report is a good report."""
# expect: double=crashed loss=crashed find=crashed
# process: same
import os

os._exit(0)
