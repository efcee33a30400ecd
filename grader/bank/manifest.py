"""kata.toml: its format on disk, and the way from there to a `Kata`. Says nothing of the kata's other files."""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from grader.bank.files import read_text
from grader.bank.kata import SLUG_RULE, Forbidden, Kata, Limits, Part, Reference, is_slug
from grader.errors import BadKata

FORMAT = 1

Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1, le=10_000)]
# Regular expressions rather than Literal: msgspec then names what is allowed when it refuses.
Priority = Annotated[str, Meta(pattern=r"^P[012]\Z")]
Preload = Annotated[str, Meta(pattern=r"^(numpy|torch|transformers)\Z")]
Network = Annotated[str, Meta(pattern=r"^(none|loopback)\Z")]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*\Z")]
# A given module's name becomes a path: nothing in it may lead out of katas/_given/.
Module = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\Z")]
Url = Annotated[str, Meta(pattern=r"^https?://\S+\Z")]


class PartTable(Struct, frozen=True, forbid_unknown_fields=True):
    id: Name
    title: Text
    priority: Annotated[str, Meta(pattern=r"^(P[012])?\Z")] = ""
    minutes: Annotated[int, Meta(ge=0, le=10_000)] = 0


class LimitsTable(Struct, frozen=True, forbid_unknown_fields=True):
    cpu_seconds: Annotated[float, Meta(ge=2, le=3600)] = 5.0
    memory_mb: Annotated[int, Meta(ge=64, le=1 << 20)] = 1024
    processes: bool = False
    network: Network = "none"


class ForbiddenTable(Struct, frozen=True, forbid_unknown_fields=True):
    name: Text
    why: Text


class ReferenceTable(Struct, frozen=True, forbid_unknown_fields=True):
    title: Text
    url: Url


class KataTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. What has a default may be left out."""

    format: int
    title: Text
    problem: Count | None = None
    summary: Text
    track: Text
    priority: Priority
    minutes: Count
    difficulty: Annotated[int, Meta(ge=1, le=5)]
    prerequisites: tuple[Name, ...] = ()
    given: tuple[Module, ...] = ()
    preload: Preload
    requires: tuple[Name, ...] = ()
    # The upper bound also keeps out inf and nan, which TOML can write.
    budget_seconds: Annotated[float, Meta(gt=0, le=3600)]
    parts: Annotated[tuple[PartTable, ...], Meta(min_length=1)]
    limits: LimitsTable = LimitsTable()
    forbidden: tuple[ForbiddenTable, ...] = ()
    references: tuple[ReferenceTable, ...] = ()


def load_kata(folder: Path) -> Kata:
    """The kata of `folder`, whose name is the slug and whose bank lies two levels up.

    Raises BadKata, naming the file, the field and what to do.
    """
    folder = folder.absolute()
    if not is_slug(folder.name):
        raise BadKata(f"{folder}: {folder.name!r} cannot name a kata; rename the folder: {SLUG_RULE}")
    file = folder / "kata.toml"
    table = _parse(file)
    _check_format(file, table)
    try:
        manifest = convert(table, KataTable)
    except ValidationError as error:
        raise _refusal(file, *_explain(str(error))) from None
    _check_parts(file, manifest.parts)
    return _kata(folder, manifest)


def _refusal(file: Path, field: str, what: str) -> BadKata:
    return BadKata(f"{file}: {field}: {what}; correct it (docs/authoring.md), then `kata lint {file.parent.name}`")


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file))
    except (
        ValueError,
        RecursionError,
    ) as error:  # tomllib lets the limits on digits and on nesting through as they are
        raise _refusal(file, "not TOML", str(error)) from None


def _check_format(file: Path, table: dict[str, Any]) -> None:
    """Comes before all else: of another format nothing more can be said."""
    found = table.get("format")
    if found is None:
        raise _refusal(file, "format", f"required key is missing; write `format = {FORMAT}`")
    if type(found) is not int or found < 1:  # True is an int to Python, not to TOML
        raise _refusal(file, "format", f"Expected {FORMAT}, got {found!r}")
    if found > FORMAT:
        upgrade = "`pip install --upgrade kata-grader`"
        raise BadKata(f"{file}: format: {found} is newer than this `kata` reads (up to {FORMAT}); {upgrade}")


def _check_parts(file: Path, parts: tuple[PartTable, ...]) -> None:
    ids = [part.id for part in parts]
    for index, id in enumerate(ids):
        if id in ids[:index]:
            raise _refusal(file, f"parts[{index}].id", f"{id!r} is the id of parts[{ids.index(id)}] too")


def _explain(refused: str) -> tuple[str, str]:
    """msgspec's message as (field, what): 'Expected `int`, got `str` - at `$.minutes`' → ('minutes', 'Expected …')."""
    what, _, where = refused.partition(" - at `$")
    where = where.strip("`.")
    key = re.fullmatch("Object (contains unknown|missing required) field `(.*)`", what)
    if key is None:
        return where, what
    said = _unknown_key(key[2]) if key[1] == "contains unknown" else "required key is missing"
    return f"{where}.{key[2]}".lstrip("."), said


def _unknown_key(key: str) -> str:
    if key == "points":
        return 'unknown key: points stand on the checks in checks.py, `@check("part", points=20)`'
    tables = (KataTable, PartTable, LimitsTable, ForbiddenTable, ReferenceTable)
    known = [field for table in tables for field in table.__struct_fields__]
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key (did you mean `{near[0]}`?)" if near else "unknown key"


def _kata(folder: Path, manifest: KataTable) -> Kata:
    limits = manifest.limits
    return Kata(
        slug=folder.name,
        bank=folder.parent.parent,
        title=manifest.title,
        problem=manifest.problem,
        summary=manifest.summary,
        track=manifest.track,
        priority=manifest.priority,
        minutes=manifest.minutes,
        difficulty=manifest.difficulty,
        prerequisites=manifest.prerequisites,
        given=manifest.given,
        preload=manifest.preload,
        requires=manifest.requires,
        budget_seconds=manifest.budget_seconds,
        parts=tuple(Part(part.id, part.title, part.priority, part.minutes) for part in manifest.parts),
        limits=Limits(limits.cpu_seconds, limits.memory_mb, limits.processes, limits.network),
        forbidden=tuple(Forbidden(entry.name, entry.why) for entry in manifest.forbidden),
        references=tuple(Reference(entry.title, entry.url) for entry in manifest.references),
    )
