"""Asks for 100 GB while it is loaded."""
# expect: double=memory loss=memory find=memory
held = bytearray(100 * 2**30)
