GET_KEYRING_ID, SESSION_KEYRING = 0, -3
libc.call("syscall", numbers["keyctl"], GET_KEYRING_ID, SESSION_KEYRING, 0)
