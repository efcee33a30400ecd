import ctypes
import struct

ALLOW_ALL = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
libc.prctl(PR_SET_NO_NEW_PRIVS, 1)
libc.prctl(PR_SET_SECCOMP, 2, struct.pack("HP", 1, ctypes.addressof(ALLOW_ALL)))
