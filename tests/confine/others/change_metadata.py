import os
import shutil

os.chmod(secret, 0)
os.chmod(outside, 0)
os.chown(secret, 1, 1)
os.utime(secret, (1, 1))
with open(library_file) as readable:
    os.fchmod(readable.fileno(), 0)
shutil.copystat(library_file, secret)
