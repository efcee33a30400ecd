"""Connects to whatever listens: TCP, UDP, sockets with a path, abstract ones, the kernel's own."""
# control: network
import socket


def reach(what, family, kind, address, protocol=0):
    with trying(what), socket.socket(family, kind, protocol) as sock:
        sock.settimeout(1)
        sock.connect(address)


def steal():
    reach("TCP", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", PORT))
    reach("UDP", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 53))
    reach("a socket with a path", socket.AF_UNIX, socket.SOCK_STREAM, SOCKET_PATH)
    reach("an abstract socket", socket.AF_UNIX, socket.SOCK_STREAM, f"\0{ABSTRACT}")
    reach("netlink", socket.AF_NETLINK, socket.SOCK_RAW, (0, 0))
    with trying("a socket of its own"), socket.create_server(("127.0.0.1", 0)):
        pass
    with trying("a pair of datagrams"):
        socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with trying("names"):
        socket.getaddrinfo("localhost", 80, flags=socket.AI_CANONNAME) and socket.create_connection(("localhost", PORT))
