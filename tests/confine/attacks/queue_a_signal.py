import struct

libc.call("syscall", numbers["rt_sigqueueinfo"], victim, 0, struct.pack("iii", 0, 0, -1) + bytes(116))
