"""Raises SystemExit while it is loaded."""
# expect: double=error loss=error find=error
import sys

sys.exit(0)
