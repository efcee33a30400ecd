"""Is no Python at all."""
# expect: double=error loss=error find=error
# process: same
def double(x:
