"""Sleeps while it is loaded."""
# expect: double=timeout loss=timeout find=timeout
# limit: 0.1
import time

time.sleep(1000)
