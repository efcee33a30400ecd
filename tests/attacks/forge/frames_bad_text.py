"""Replies with text that is no UTF-8, and with halves of characters, which no JSON can hold."""
# expect: double=error loss=failed find=error
# with: frames


def double(x):
    answer(["S", 0], [b"\xff\xfe"])


def loss(x):
    answer(["S", 0], ["\ud800 \udfff".encode("utf-8", "surrogatepass")])


def find(oracle, n):
    report = ["kind", "raised", "type_name", ["S", 0], "bases", ["l", []], "message", ["S", 1]]
    send(["t", ["raise", ["d", report]]], [b"\xed\xa0\x80"] * 2)
    silence()
