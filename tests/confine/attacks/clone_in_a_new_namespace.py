import os

NEW_USER, SIGCHLD = 0x10000000, 17
if not (pid := libc.call("syscall", numbers["clone"], NEW_USER | SIGCHLD, None, None, None, 0)):
    os._exit(0)
os.waitpid(pid, 0)
