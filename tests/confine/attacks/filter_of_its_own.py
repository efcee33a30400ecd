import struct

ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
libc.call("prctl", PR_SET_NO_NEW_PRIVS, 1)
libc.call("prctl", PR_SET_SECCOMP, 2, struct.pack("HP", 1, libc.address(ALLOW_ALL)))
