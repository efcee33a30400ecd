IPC_PRIVATE, IPC_RMID = 0, 0
segment = libc.call("syscall", numbers["shmget"], IPC_PRIVATE, 4096, 0o600)
libc.call("syscall", numbers["shmctl"], segment, IPC_RMID, None)
