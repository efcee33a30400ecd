import os

os.link(secret, "mine")
