# A handle of the process itself: the namespace it is in already.
NEW_NET = 0x40000000
with open("/proc/self/ns/net") as own:
    libc.call("setns", own.fileno(), NEW_NET)
