import os

os.close(libc.call("syscall", numbers["fsopen"], b"tmpfs", 0))
