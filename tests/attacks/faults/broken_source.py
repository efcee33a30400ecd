"""Is no Python at all."""
# expect: double=error loss=error find=error
def double(x:
