"""Loops without end and catches whatever is raised in it."""
# expect: double=timeout loss=passed find=passed
# process: same
# with: right
# limit: 0.3


def double(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue
