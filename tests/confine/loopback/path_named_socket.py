import socket

socket.socket(socket.AF_UNIX).connect(address)
