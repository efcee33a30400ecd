PR_SET_PDEATHSIG = 1
libc.call("prctl", PR_SET_PDEATHSIG, 0)
