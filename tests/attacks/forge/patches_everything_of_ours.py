"""Walks modules, frames and the garbage collector's objects for what belongs to the grader, and makes it agree."""
# expect: double=failed loss=failed find=failed
# process: same
import contextlib
import gc
import sys


def agree(*_args, **_kwargs):
    return None


def patch():
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "grader" and not name.startswith("grader.sandbox"):
            for key, value in list(vars(module).items()):
                if callable(value) and not isinstance(value, type):
                    setattr(module, key, agree)
    for thing in gc.get_objects():
        if str(type(thing).__module__).startswith("grader") and hasattr(thing, "state"):
            with contextlib.suppress(AttributeError):
                thing.state = "passed"
    frame = sys._getframe()
    while frame:
        for value in frame.f_locals.values():
            if type(value).__name__ in ("Run", "Staff", "JudgePlugin", "Session"):
                value.results = {}
        frame = frame.f_back


patch()


def double(x):
    patch()
    return x


def loss(x):
    return 0.0


def find(oracle, n):
    return -1
