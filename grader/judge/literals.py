"""Values as Python source: what a script says to have them again. Arrays and tensors are put aside, to be loaded."""

import math
import re
from io import BytesIO
from typing import Any

import numpy as np

from grader.sandbox import wire


class Unknown(Exception):
    """There is no expression for it: an object that only the checks have seen."""


class Named:
    """Something that the script knows by a name, or, without one, not at all."""

    def __init__(self, name: str | None) -> None:
        self.name = name


class Literals:
    """Expressions for plain values; `data` is what they load."""

    def __init__(self, scratch: str) -> None:
        self.scratch = scratch
        """Paths in this folder are moved to a folder of the script's own."""
        self.torch = wire.torch_module()
        self.arrays: dict[str, Any] = {}
        self.uses: set[str] = set()
        """Modules that the expressions need, beyond NumPy and torch."""

    def source(self, value: Any) -> str:
        """An expression for the value. Raises Unknown."""
        if isinstance(value, Named):
            if value.name is None:
                raise Unknown
            return value.name
        if isinstance(value, np.ndarray | np.generic):
            return self._numpy(value)
        if isinstance(value, np.dtype):
            return f'np.dtype("{value.str}")'
        return self._torch(value) or self._plain(value)

    def data(self) -> bytes:
        file = BytesIO()
        if self.torch:
            self.torch.save(self.arrays, file)
        else:
            np.savez(file, **self.arrays)
        return file.getvalue()

    def _plain(self, value: Any) -> str:
        if isinstance(value, wire.Record):
            self.uses.add("types")
            return f"types.SimpleNamespace({self._named(value.fields)})"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.source(key)}: {self.source(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list | tuple | set | frozenset):
            return self._container(value)
        if isinstance(value, complex):
            return f"complex({self.source(value.real)}, {self.source(value.imag)})"
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if isinstance(value, str):
            return self._text(value)
        return repr(value)

    def _named(self, fields: dict[str, Any]) -> str:
        return ", ".join(f"{name}={self.source(item)}" for name, item in fields.items())

    def _container(self, value: Any) -> str:
        inside = ", ".join(self.source(item) for item in value)
        if isinstance(value, list):
            return f"[{inside}]"
        if isinstance(value, tuple):
            return f"({inside}{',' if len(value) == 1 else ''})"
        return f"{'frozenset' if isinstance(value, frozenset) else 'set'}([{inside}])"

    def _text(self, value: str) -> str:
        path = re.fullmatch(re.escape(self.scratch) + "/([^/]+)", value)
        if path is None:
            return repr(str(value))
        self.uses.add("tempfile")
        return f"f{f'{{scratch}}/{path[1]}'!r}"

    def _numpy(self, value: Any) -> str:
        if isinstance(value, np.generic):
            return f'np.array({self.source(value.item())}, "{value.dtype.str}")[()]'
        if value.dtype.kind in "US" or (self.torch and value.dtype.name not in _SHARED_WITH_TORCH):
            return f'np.array({value.tolist()!r}, "{value.dtype.str}")'
        if self.torch:
            return self._aside(self.torch.from_numpy(np.array(value))) + ".numpy()"
        return self._aside(value)

    def _torch(self, value: Any) -> str | None:
        if not self.torch:
            return None
        if isinstance(value, self.torch.Tensor):
            return self._aside(value)
        if isinstance(value, self.torch.device):
            return f'torch.device("{value}")'
        if isinstance(value, self.torch.Generator):
            self.uses.add("generator")
            return f"generator({self._aside(value.get_state())})"
        return None

    def _aside(self, value: Any) -> str:
        name = f"a{len(self.arrays)}"
        self.arrays[name] = value
        return f'data["{name}"]'


_SHARED_WITH_TORCH = frozenset(
    ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128")
)
