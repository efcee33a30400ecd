"""A TOML file of a bank → a struct that was checked, or a BadKata that names file, field and remedy."""

import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct, ValidationError, convert

from grader.bank.files import read_text
from grader.errors import BadKata

Text = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*\Z")]
Url = Annotated[str, Meta(pattern=r"^https?://\S+\Z")]
Table = TypeVar("Table", bound=Struct)


def read_table(file: Path, kind: type[Table], *tables: type[Struct], format: int, then: str) -> Table:
    """The file as a `kind`, which says `format`; `tables` are the structs in it, whose keys a mistyped one may mean.

    `then` is the command that checks a corrected file. Raises BadKata.
    """
    kinds: tuple[type[Struct], ...] = (kind, *tables)
    found = _parse(file, then)
    _check_format(file, found, format, then)
    try:
        return convert(found, kind)
    except ValidationError as error:
        field, what = _explain(str(error), [key for table in kinds for key in table.__struct_fields__])
        raise refusal(file, field, what + _owner(field, found), then) from None


def refusal(file: Path, field: str, what: str, then: str) -> BadKata:
    return BadKata(f"{file}: {field}: {what}; correct it (docs/authoring.md), then `{then}`")


def _parse(file: Path, then: str) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file))
    except (ValueError, RecursionError) as error:  # tomllib lets the limits on digits and on nesting through
        raise refusal(file, "not TOML", str(error), then) from None


def _check_format(file: Path, table: dict[str, Any], format: int, then: str) -> None:
    """Comes before all else: of another format nothing more can be said."""
    found = table.get("format")
    if found is None:
        raise refusal(file, "format", f"required key is missing; write `format = {format}`", then)
    if type(found) is not int or found < 1:  # True is an int to Python, not to TOML
        raise refusal(file, "format", f"Expected {format}, got {found!r}", then)
    if found > format:
        upgrade = "`pip install --upgrade kata-grader`"
        raise BadKata(f"{file}: format: {found} is newer than this `kata` reads (up to {format}); {upgrade}")


def _explain(refused: str, known: list[str]) -> tuple[str, str]:
    """msgspec's message as (field, what): 'Expected `int`, got `str` - at `$.minutes`' → ('minutes', 'Expected …')."""
    what, _, where = refused.partition(" - at `$")
    where = where.strip("`.")
    key = re.fullmatch("Object (contains unknown|missing required) field `(.*)`", what)
    if key is None:
        return where, what
    said = _unknown_key(key[2], known) if key[1] == "contains unknown" else "required key is missing"
    return f"{where}.{key[2]}".lstrip("."), said


def _unknown_key(key: str, known: list[str]) -> str:
    if key == "points":
        return 'unknown key: points stand on the checks in checks.py, `@check("part", points=20)`'
    near = get_close_matches(key, known, n=1)
    return f"unknown key (did you mean `{near[0]}`?)" if near else "unknown key"


def _owner(field: str, table: dict[str, Any]) -> str:
    """The `id` of the entry that the field belongs to, where it has one: the 87th of 200 is hard to find."""
    entry = re.match(r"(\w+)\[(\d+)\]", field)
    found = table[entry[1]][int(entry[2])] if entry else None
    name = found.get("id") if isinstance(found, dict) else None
    return f" (in {name!r})" if isinstance(name, str) else ""
