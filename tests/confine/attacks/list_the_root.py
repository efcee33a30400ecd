import os

os.listdir("/")
