"""Raises in the protocol's words, as what might be taken for a fault of the harness or for nothing at all."""
# expect: double=error loss=error find=error
# with: frames


def raised(kind, name):
    send(["t", ["raise", ["d", ["kind", kind, "type_name", name, "bases", ["l", [name]], "message", "passed"]]]])
    silence()


def double(x):
    raised("passed", "NotMeasurable")


def loss(x):
    raised("harness_fault", "HarnessFault")


def find(oracle, n):
    raised("not_measurable", "Skipped")
