import os

ATTACH, DETACH = 16, 17
libc.call("syscall", numbers["ptrace"], ATTACH, victim, 0, 0)
os.waitpid(victim, 0)
libc.call("syscall", numbers["ptrace"], DETACH, victim, 0, 0)
