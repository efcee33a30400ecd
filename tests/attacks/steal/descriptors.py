"""Looks at every descriptor it was given, and asks each for more."""
# control: descriptors
import socket
import stat

KINDS = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFCHR: "device"}


def steal():
    for number in range(1024):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "other")
        print("HOLDS", number, kind)
        with trying(f"folder behind {number}"):
            os.listdir(number)
        with trying(f"something beside {number}"):
            os.open("..", os.O_RDONLY, dir_fd=number)
        if kind == "socket":
            with trying("a connection by the judge's socket"):
                sock = socket.socket(fileno=os.dup(number))
                sock.connect("\0anything")
            with trying("a name of the judge's socket"):
                if not sock.getpeername():
                    raise OSError
    with trying("all descriptors of the process"):
        os.listdir("/proc/self/fd")
