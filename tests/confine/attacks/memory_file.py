import os

os.close(os.memfd_create("code"))
