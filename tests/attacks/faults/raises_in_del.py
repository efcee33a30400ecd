"""Raises wherever nobody expects it: in __del__, in a weak reference's call, in a trace function, in a profile."""
# expect: double=error|failed|passed|crashed loss=passed find=passed
# with: right
import sys
import threading
import weakref


class Bomb:
    def __del__(self):
        raise SystemExit(0)


def boom(*_):
    raise SystemExit(0)


def double(x):
    threading.excepthook = sys.excepthook = sys.unraisablehook = boom
    bomb = Bomb()
    weakref.finalize(bomb, boom)
    del bomb
    sys.setprofile(boom)
    return x + x
