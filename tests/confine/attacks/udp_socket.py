import socket

socket.socket(type=socket.SOCK_DGRAM).close()
