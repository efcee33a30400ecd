"""Replies to its own loading with what is no reply, or a report of nothing."""
# expect: double=error loss=error find=error
# with: frames
import random

send(random.choice([5, ["t", []], ["t", ["raise", 5]], ["t", ["raise"]], ["t", ["ok", 1]], ["d", ["ok", None]]]))
silence()
