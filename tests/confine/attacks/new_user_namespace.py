NEW_USER = 0x10000000
libc.call("unshare", NEW_USER)
