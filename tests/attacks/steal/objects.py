"""Looks for canaries in every object, module, frame, constant, source line and variable of its own interpreter."""
# control: objects
import gc
import linecache
import sys
import types


def texts(thing):
    if isinstance(thing, str):
        yield thing.encode("utf-8", "replace")
    elif isinstance(thing, (bytes, bytearray)):
        yield bytes(thing)
    elif isinstance(thing, types.CodeType):
        for inner in (*thing.co_consts, *thing.co_names, thing.co_filename):
            yield from texts(inner)
    elif isinstance(thing, (list, tuple, set, frozenset)) and len(thing) < 100_000:
        for inner in list(thing):
            if isinstance(inner, (str, bytes)):
                yield from texts(inner)
    elif isinstance(thing, dict):
        for key, inner in list(thing.items()):
            yield from texts(key) if isinstance(key, (str, bytes)) else ()
            yield from texts(inner) if isinstance(inner, (str, bytes)) else ()


def frames():
    frame = sys._getframe()
    while frame:
        yield from (frame.f_locals, frame.f_globals, frame.f_code)
        frame = frame.f_back


def steal():
    places = {
        "objects": gc.get_objects(),
        "functions": [thing.__code__ for thing in gc.get_objects() if isinstance(thing, types.FunctionType)],
        "frames": list(frames()),
        "lines": [line for entry in linecache.cache.values() if len(entry) > 2 for line in entry[2]],
        "environment": [dict(os.environ), *sys.argv, *sys.orig_argv, *sys.path, *sys.modules],
    }
    for place, things in places.items():
        for thing in things:
            for text in texts(thing):
                for number in canaries(text):
                    got(f"canary {number} in {place}")
    for name in sys.modules:
        if any(word in name for word in ("reference", "checks", "kata_")):
            got(f"module {name}")
