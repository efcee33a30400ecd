"""Answers at once, and lets threads print, compute and sleep for ever afterwards."""
# expect: double=passed loss=passed find=passed
# process: same
# with: right
import threading
import time


def forever(body):
    while True:
        body()


def double(x):
    for body in (lambda: print("x" * 1000), lambda: None, lambda: time.sleep(1)):
        threading.Thread(target=forever, args=(body,)).start()
    return x + x
