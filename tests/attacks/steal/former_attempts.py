"""Looks for what the attempts before it left: files, environment, modules, threads, memory of theirs."""
import sys
import threading


def steal():
    if os.listdir("."):
        got(f"files {os.listdir('.')}")
    if threading.active_count() > 1:
        got("threads")
    for name in ("planted", "builtins_planted"):
        if hasattr(sys, name) or name in os.environ or name in sys.modules:
            got(name)
