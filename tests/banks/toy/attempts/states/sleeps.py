# limit 0.2 s
# test_inverse_divides: timeout
#   message: no answer after 1 s
import time


def inverse(x):
    time.sleep(100)
