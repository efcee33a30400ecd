import os

os.close(libc.call("syscall", numbers["io_uring_setup"], 1, bytes(120)))
