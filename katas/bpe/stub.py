"""A byte-level BPE tokenizer: training, encoding, decoding, special tokens. PROMPT.md pins the details.

The constructor is given done. Ids 0 to 255 are the bytes; merge i makes id 256 + i.
"""

from collections import Counter
from collections.abc import Set
from typing import Literal

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
"""GPT-2's pre-token pattern, with ASCII letters and digits, so that the standard library's `re` can run it."""


def get_pair_counts(words: dict[tuple[int, ...], int]) -> Counter[tuple[int, int]]:
    """How often each pair of neighbouring ids occurs, over all words, each counted with its frequency.

    Args: words: ids of a word → how often the word occurs, 1 or more. Words may be of any length. Not modified.
    Returns: (left id, right id) → count. Overlapping pairs count: (7, 7, 7, 7) has (7, 7) three times.
    """
    raise NotImplementedError("pairs: walk over the neighbours of one word, and add its frequency for each")


def merge(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """The ids with every occurrence of the pair replaced by new_id: one pass from left to right, no overlaps.

    Args: ids: any length, also 0. pair: (left id, right id). new_id: any id.
    Returns: a tuple.
    """
    raise NotImplementedError("pairs: walk with an index that moves by 2 after a hit and by 1 otherwise")


def train(text: str, vocab_size: int, pattern: str = PATTERN) -> tuple[dict[int, bytes], list[tuple[int, int]]]:
    """Learn merges: again and again the most frequent pair of neighbours inside a pre-token becomes a new id.

    Args: text: may be empty. vocab_size: at most so many ids, the 256 bytes included; below 256: ValueError. pattern:
        its matches, group 0, are the pre-tokens.
    Returns: (vocab, merges): id → bytes, and the pairs in the order they were merged; fewer where no pair is left. Of
        equally frequent pairs the smallest (left id, right id) is merged.
    """
    raise NotImplementedError("train: count the pre-tokens first, each as a tuple of its UTF-8 bytes")


class Tokenizer:
    """Text to ids and back, with what `train` returned."""

    def __init__(
        self,
        vocab: dict[int, bytes],
        merges: list[tuple[int, int]],
        pattern: str = PATTERN,
        special_tokens: dict[str, int] | None = None,
    ) -> None:
        """Args: vocab, merges, pattern: as in train. special_tokens: text, not empty → an id that vocab has not."""
        self.vocab = dict(vocab)
        self.merges = list(merges)
        self.pattern = pattern
        self.special_tokens = dict(special_tokens or {})

    def encode(self, text: str, allowed_special: Set[str] | Literal["all"] = frozenset()) -> list[int]:
        """The ids of a text.

        Args: text: may be empty. allowed_special: the special tokens that become their id where they stand in the
            text; "all" for every one. A special token in the text that is not allowed: ValueError.
        """
        raise NotImplementedError("encode: write it for one pre-token first, merging the pair of the lowest rank")

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special ones too. Bytes that are not UTF-8 become U+FFFD. Unknown id: KeyError."""
        raise NotImplementedError("encode: look up the bytes of every id, join them, then decode once")
