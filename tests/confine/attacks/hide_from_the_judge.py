PR_SET_DUMPABLE = 4
libc.call("prctl", PR_SET_DUMPABLE, 0)
