import os

os.remove(secret)
