import ctypes
import struct

here = ctypes.create_string_buffer(8)
span = struct.pack("QQ", ctypes.addressof(here), 8)
libc.call("syscall", numbers["process_vm_readv"], victim, span, 1, span, 1, 0)
