import os

os.rename(secret, "mine")
