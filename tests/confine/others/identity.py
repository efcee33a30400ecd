import os

status = dict(line.split(":\t") for line in status_file.read().splitlines())
result = {
    "cwd": os.getcwd(),
    "pid": os.getpid(),
    "user": os.getuid(),
    "leads_its_session": os.getsid(0) == os.getpid(),
    "capabilities": {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16},
}
