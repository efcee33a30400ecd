"""Skips the whole module while it is loaded."""
# expect: double=error loss=error find=error
import pytest

pytest.skip("not today", allow_module_level=True)
