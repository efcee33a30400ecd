"""Reads its own memory by address, page by page, through the kernel where it cannot be mapped: heap, stack, arguments."""
# control: memory
import ctypes
import gc

libc = ctypes.CDLL(None, use_errno=True)
CHUNK = 2**18


def readable(address, size):
    """That much from there, by having the kernel write it to a file; None where nothing is mapped."""
    os.lseek(file, 0, os.SEEK_SET)
    wrote = libc.pwrite(file, ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_long(0))
    return os.pread(file, wrote, 0) if wrote > 0 else None


def starts():
    """Addresses that are surely mapped: of objects, buffers, the stack, the C library, the interpreter."""
    local = ctypes.c_int()
    yield ctypes.addressof(local)
    yield ctypes.cast(libc.getenv, ctypes.c_void_p).value
    yield ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value
    for name in ("environ", "program_invocation_name", "stdout"):
        yield ctypes.c_void_p.in_dll(libc, name).value
    for thing in gc.get_objects():
        yield id(thing)
    for size in (10, 1_000, 100_000, 10_000_000):
        yield ctypes.addressof(ctypes.create_string_buffer(size))


def steal():
    global file
    file = os.open("memory", os.O_RDWR | os.O_CREAT, 0o600)
    seen, total = set(), 0
    todo = {address // CHUNK for address in starts() if address}
    while todo and total < LARGEST:
        chunk = todo.pop()
        if chunk in seen:
            continue
        seen.add(chunk)
        data = b"".join(readable(chunk * CHUNK + page, 4096) or b"" for page in range(0, CHUNK, 4096))
        if data:
            total += len(data)
            todo |= {chunk - 1, chunk + 1}
            for number in canaries(data):
                got(f"canary {number} in memory")
    print("READ", total)
