bytearray(1 << 28)
