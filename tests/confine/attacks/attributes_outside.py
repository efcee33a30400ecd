import os

os.setxattr(secret, "user.planted", b"x")
