"""Replaces the worker's own encoder, servant and reply, so that whatever is asked, `ok` is said."""
# expect: double=timeout|error|crashed loss=timeout|error|crashed find=timeout|error|crashed
# process: same
# limit: 0.1
import gc
import sys

for name in ("encode", "pack", "send"):
    for module in [m for n, m in sys.modules.items() if n.startswith("grader.sandbox")]:
        if hasattr(module, name):
            setattr(module, name, lambda *_args, **_kwargs: [])

for thing in gc.get_objects():
    if type(thing).__name__ in ("Servant", "Worker"):
        thing.answer = lambda *_: []
        type(thing).op_call = lambda *_: (True, [], None)


def double(x):
    return x


loss = find = double
