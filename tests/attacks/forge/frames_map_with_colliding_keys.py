"""Replies with a msgpack map whose keys are arrays of equal hash: building it would take the judge minutes."""
# expect: double=error loss=error find=error
# process: same
# with: frames


def double(x):
    keys = b"".join(
        b"\xdc\x00\x14" + bytes(0xFF if number >> bit & 1 else 0xFE for bit in range(20)) + b"\x01"
        for number in range(40_000)
    )
    send(b"\xdf" + struct.pack(">I", 40_000) + keys)
    silence()


loss = double


def find(oracle, n):
    double(0)
