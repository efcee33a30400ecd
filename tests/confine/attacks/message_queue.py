IPC_PRIVATE, IPC_RMID = 0, 0
queue = libc.call("syscall", numbers["msgget"], IPC_PRIVATE, 0o600)
libc.call("syscall", numbers["msgctl"], queue, IPC_RMID, None)
