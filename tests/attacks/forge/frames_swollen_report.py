"""Raises in the protocol's words with a report of megabytes: names, bases, frames and message without end."""
# expect: double=error loss=error find=error
# with: frames

TEXT = ["S", 0]
REPORT = {
    "kind": "raised",
    "type_name": TEXT,
    "bases": ["l", ["x" * 1000] * 1000],
    "message": ["S", 1],
    "frames": ["l", [["l", [10**15, "f" * 1000, "\x1b[2J" * 100]]] * 2000],
}


def double(x):
    fields = [part for pair in REPORT.items() for part in pair]
    send(["t", ["raise", ["d", fields]]], [b"x" * 2**24, "𝄞".encode() * 2**22])
    silence()


loss = double


def find(oracle, n):
    double(0)
