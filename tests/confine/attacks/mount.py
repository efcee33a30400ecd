libc.call("mount", b"tmpfs", b"/mnt", b"tmpfs", 0, None)
libc.call("umount2", b"/mnt", 2)
