import os

os.truncate(secret, 0)
