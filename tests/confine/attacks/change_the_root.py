libc.call("syscall", numbers["chroot"], b"/")
