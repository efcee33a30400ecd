"""The catalogue: every kata of every bank at hand, in the order to take them. A glob; there is no list elsewhere."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from grader.bank.kata import Kata
from grader.bank.manifest import load_kata
from grader.bank.places import builtin_bank, installed_banks, named_banks
from grader.errors import BadKata, UnknownKata


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be started, and what cannot because its own files are wrong."""

    katas: tuple[Kata, ...]
    """Prerequisites first, then by priority, problem number and slug."""
    broken: tuple[tuple[Path, BadKata], ...] = ()
    """A kata's folder, or the name of an installed bank, and what is wrong with it."""
    banks: tuple[Path, ...] = ()
    """The folders that were looked into; absolute."""

    @classmethod
    def load(cls, extra: Sequence[Path] = ()) -> Self:
        """The built-in bank, installed ones, those of KATA_BANK, and `extra`.

        Raises BadKata where a folder of the last two is no bank.
        """
        named = named_banks(extra)
        installed, faults = installed_banks()
        found = cls.of([builtin_bank(), *installed, *named])
        return replace(found, broken=(*faults, *found.broken))

    @classmethod
    def of(cls, banks: Iterable[Path]) -> Self:
        """The katas of these banks alone; a bank that is named twice counts once."""
        homes: dict[str, list[Path]] = {}
        looked = tuple(dict.fromkeys(map(Path.resolve, banks)))
        for folder in (folder for bank in looked for folder in _kata_folders(bank)):
            homes.setdefault(folder.name, []).append(folder)
        katas: list[Kata] = []
        broken: list[tuple[Path, BadKata]] = []
        for folders in homes.values():
            try:
                katas.append(_only(folders))
            except BadKata as error:
                broken.append((folders[-1], error))
        return cls(_in_order(katas), tuple(broken), looked)

    def get(self, slug: str) -> Kata:
        """The kata of that name.

        Raises its BadKata where its files are wrong, and UnknownKata, with the nearest names, where there is none.
        """
        for kata in self.katas:
            if kata.slug == slug:
                return kata
        for folder, error in self.broken:
            if folder.name == slug:
                raise error
        raise UnknownKata(slug, _nearest(slug, self.katas))


def _kata_folders(bank: Path) -> list[Path]:
    files = sorted(bank.glob("katas/*/kata.toml"))
    return [file.parent for file in files if not file.parent.name.startswith(("_", "."))]


def _only(folders: list[Path]) -> Kata:
    if len(folders) > 1:
        homes = " and in ".join(str(folder.parents[1]) for folder in folders)
        raise BadKata(f"{folders[0].name} is in {homes}; rename its folder in one of the banks, or leave that bank out")
    return load_kata(folders[0])


def _in_order(katas: Iterable[Kata]) -> tuple[Kata, ...]:
    """Depth first, so that a prerequisite is as urgent as what needs it; a ring of prerequisites is cut anywhere."""
    ranked = {kata.slug: kata for kata in sorted(katas, key=_rank)}
    ordered: dict[str, Kata] = {}
    seen: set[str] = set()

    def place(kata: Kata) -> None:
        if kata.slug in seen:
            return
        seen.add(kata.slug)
        for needed in sorted((ranked[slug] for slug in kata.prerequisites if slug in ranked), key=_rank):
            place(needed)
        ordered[kata.slug] = kata

    for kata in ranked.values():
        place(kata)
    return tuple(ordered.values())


def _rank(kata: Kata) -> tuple[str, float, str]:
    return kata.priority, float("inf") if kata.problem is None else kata.problem, kata.slug


def _nearest(asked: str, katas: Iterable[Kata]) -> list[str]:
    """Up to three slugs, best first, that are like `asked` in slug, a word of slug or title, or problem number."""
    likeness = {kata.slug: max(_likeness(asked.lower(), name) for name in _names(kata)) for kata in katas}
    close = [slug for slug, score in likeness.items() if score >= 0.6]
    return sorted(close, key=lambda slug: -likeness[slug])[:3]


def _names(kata: Kata) -> list[str]:
    number = [] if kata.problem is None else [str(kata.problem)]
    return [kata.slug, kata.module_name, *kata.slug.split("-"), *kata.title.lower().split(), *number]


def _likeness(asked: str, name: str) -> float:
    return difflib.SequenceMatcher(None, asked, name).ratio()
