# Only asked about: signal 0 is sent to nobody.
import os

os.kill(-1, 0)
