bytearray(1 << 31)
