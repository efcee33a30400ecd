"""kata.toml: its format on disk, and the way from there to a `Kata`. Says nothing of the kata's other files."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from grader.bank.kata import SLUG_RULE, Forbidden, Kata, Limits, Part, Reference, is_slug
from grader.bank.tables import Name, Text, Url, read_table, refusal
from grader.errors import BadKata
from grader.preloads import PRELOADS

FORMAT = 1

Count = Annotated[int, Meta(ge=1, le=10_000)]
# Regular expressions rather than Literal: msgspec then names what is allowed when it refuses.
Priority = Annotated[str, Meta(pattern=r"^P[012]\Z")]
Preload = Annotated[str, Meta(pattern=rf"^({'|'.join(PRELOADS)})\Z")]
Network = Annotated[str, Meta(pattern=r"^(none|loopback)\Z")]
# A given module's name becomes a path: nothing in it may lead out of katas/_given/.
Module = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\Z")]


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
    then = f"kata lint {folder.name}"
    manifest = read_table(
        file, KataTable, PartTable, LimitsTable, ForbiddenTable, ReferenceTable, format=FORMAT, then=then
    )
    _check_parts(file, manifest.parts, then)
    return _kata(folder, manifest)


def _check_parts(file: Path, parts: tuple[PartTable, ...], then: str) -> None:
    ids = [part.id for part in parts]
    for index, id in enumerate(ids):
        if id in ids[:index]:
            raise refusal(file, f"parts[{index}].id", f"{id!r} is the id of parts[{ids.index(id)}] too", then)


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
