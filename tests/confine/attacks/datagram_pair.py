# One end of such a pair could send to any path-named socket of the machine.
import socket

for end in socket.socketpair(type=socket.SOCK_DGRAM):
    end.close()
