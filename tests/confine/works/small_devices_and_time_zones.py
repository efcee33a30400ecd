import os
import zoneinfo

os.write(os.open(os.devnull, os.O_WRONLY), b"x")
assert len(open("/dev/urandom", "rb").read(4)) == 4
assert os.cpu_count()
zoneinfo.ZoneInfo("Europe/Zurich")
