"""Fills memory with small objects until nothing is left, not even for saying so."""
# expect: double=memory|crashed loss=passed find=passed
# with: right

chain = None


def double(x):
    global chain
    while True:
        chain = (chain, bytes(5_000))
