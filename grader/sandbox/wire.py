"""Values as data: a closed set of types, encoded without calling them and decoded without executing anything.

Scalars travel as msgpack scalars, everything else as `[tag, …]`; large bytes travel beside the head (see `frames`).
What has no closed type is handed to `foreign`, which names it: a handle, a callback, or an error. What is decoded is
plain: exact built-in types, or a branded subclass of one, which adds a name and overrides nothing.
"""

from grader.sandbox.decoding import Resolve, decode
from grader.sandbox.encoding import Foreign, encode
from grader.sandbox.plain import MAX_KEYS, NamedTuple, Record, WireError, builtin_error, torch_module

__all__ = [
    "MAX_KEYS",
    "Foreign",
    "NamedTuple",
    "Record",
    "Resolve",
    "WireError",
    "builtin_error",
    "decode",
    "encode",
    "torch_module",
]
