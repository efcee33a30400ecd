import socket

socket.socket().close()
