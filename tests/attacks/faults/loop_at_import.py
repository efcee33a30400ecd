"""Loops without end while it is loaded, and catches whatever is raised in it."""
# expect: double=timeout loss=timeout find=timeout
# limit: 0.2
while True:
    try:
        while True:
            pass
    except BaseException:
        continue
