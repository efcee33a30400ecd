import os

os.symlink(secret, "mine")
