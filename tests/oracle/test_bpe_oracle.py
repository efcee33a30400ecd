"""The BPE kata's reference against Hugging Face tokenizers, tiktoken and a trainer that recounts everything."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from grader.judge.loading import load_file

pytestmark = pytest.mark.oracle

REFERENCE = Path(__file__).parents[2] / "solutions" / "bpe" / "reference.py"
ALTERNATIVES = sorted(path.stem for path in (REFERENCE.parent / "alternatives").glob("*.py"))
WORDS = r"\S+|\s"
SENNRICH = " ".join(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
SPECIAL = {"<|a|>": 5000, "<|a|><|b|>": 5001, "[x]y": 5002, "y[z][z]": 5003, "s.t": 5004}

Pair = tuple[bytes, bytes]


def load(path: Path) -> ModuleType:
    return load_file(f"bpe_{path.stem}", path)


@pytest.fixture(scope="module")
def bpe() -> ModuleType:
    return load(REFERENCE)


def corpus(seed: int, words: int) -> str:
    """Words of syllables, some far more frequent than others, with signs, figures and other scripts among them."""
    draw = random.Random(seed)
    syllables = [a + b for a in ("b", "st", "l", "n", "th", "w", "é", "雪") for b in ("a", "e", "o", "ing")]
    kinds = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(words // 5)]
    gaps = [" ", " ", " ", "  ", ", ", "\n\n ", "'s ", " 1999 ", "! 🙂 "]
    return "".join(kinds[int(len(kinds) * draw.random() ** 2)] + draw.choice(gaps) for _ in range(words))


def small_texts(count: int) -> list[str]:
    draw = random.Random(7)
    return ["".join(draw.choices("aab c", k=draw.randint(1, 60))) for _ in range(count)]


def byte_pairs(vocab: dict[int, bytes], merges: list[tuple[int, int]]) -> list[Pair]:
    return [(vocab[left], vocab[right]) for left, right in merges]


def recounted(text: str, size: int, pattern: str, alphabet: list[int]) -> list[Pair]:
    """Train on lists of ids, by counting everything anew; ties go by ids, byte alphabet[i] having the id i."""
    id_of = {byte: id_ for id_, byte in enumerate(alphabet)}
    words = [[id_of[byte] for byte in match[0].encode()] for match in re.finditer(pattern, text)]
    tokens, pairs = [bytes([byte]) for byte in alphabet], []
    while len(tokens) < size and (counts := Counter(pair for word in words for pair in pairwise(word))):
        left, right = min(counts, key=lambda pair: (-counts[pair], pair))
        for word in words:
            place = 0
            while place < len(word) - 1:
                if word[place : place + 2] == [left, right]:
                    word[place : place + 2] = [len(tokens)]
                place += 1
        pairs.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return pairs


def hugging_face(text: str, size: int, pattern: str) -> tuple[Any, list[Pair], list[int]]:
    """Hugging Face's tokenizer trained on the text, its merges as bytes, and the bytes in the order of its ids."""
    tokenizers = pytest.importorskip("tokenizers")
    pre = tokenizers.pre_tokenizers
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    cut = pre.Split(tokenizers.Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre.Sequence([cut, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    byte_of = byte_level()
    ids = tokenizer.get_vocab()
    alphabet = [byte_of[sign] for sign in sorted(byte_of, key=ids.__getitem__)]
    rules = json.loads(tokenizer.to_str())["model"]["merges"]
    return tokenizer, [tuple(bytes(byte_of[sign] for sign in side) for side in rule) for rule in rules], alphabet


def byte_level() -> dict[str, int]:
    """GPT-2's printable sign for each byte."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in kept]
    return {chr(byte): byte for byte in kept} | {chr(256 + place): byte for place, byte in enumerate(rest)}


@pytest.mark.parametrize("pattern", [None, WORDS, r"[\s\S]{1,7}"])
def test_training_equals_recounting(bpe, pattern):
    pattern = pattern or bpe.PATTERN
    for text, size in ((corpus(1, 600), 400), (corpus(2, 200), 700), *((text, 300) for text in small_texts(100))):
        assert byte_pairs(*bpe.train(text, size, pattern)) == recounted(text, size, pattern, [*range(256)])


def test_recounting_with_hugging_faces_ids_equals_hugging_face(bpe):
    """Its rule for ties is ours; its bytes have other ids, so that its ties fall otherwise."""
    cases = [(corpus(3, 3000), 500, bpe.PATTERN), *((text, 300, WORDS) for text in small_texts(100))]
    for text, size, pattern in cases:
        _, pairs, alphabet = hugging_face(text, size, pattern)
        assert pairs == recounted(text, size, pattern, alphabet)


def test_training_equals_hugging_face_where_its_ids_are_in_our_order(bpe):
    """Printable ASCII without spaces has one order in both, and merged ids come behind it in both."""
    for text, size in ((SENNRICH, 262), *((text, 300) for text in small_texts(200))):
        assert byte_pairs(*bpe.train(text, size, WORDS)) == hugging_face(text, size, WORDS)[1]


def test_sennrichs_example_by_three_rules(bpe):
    """The table of the debrief: the rules part on the first corpus that was ever published for this."""
    vocab, merges = bpe.train(SENNRICH, 262, WORDS)
    assert [vocab[256 + i] for i in range(len(merges))] == [b"es", b"est", b"lo", b"low", b"ew", b"new"]
    educational = pytest.importorskip("tiktoken._educational")
    ranks = educational.bpe_train(SENNRICH, 262, WORDS, visualise=None)
    assert [*ranks][256:] == [b"es", b"est", b"lo", b"low", b"ne", b"new"]


@pytest.fixture(scope="module")
def trained(bpe) -> tuple[dict[int, bytes], list[tuple[int, int]]]:
    return bpe.train(corpus(4, 3000), 600)


def texts() -> list[str]:
    """Texts like those of training, unlike them, and words of its syllables in a new order."""
    draw = random.Random(5)
    mixed = ["".join(draw.choices("bstlnthwaeoing é雪🙂'19\n", k=draw.randint(0, 60))) for _ in range(400)]
    return ["", " ", "\n\n  x", corpus(6, 500), corpus(4, 50), *mixed]


def test_encoding_equals_tiktoken(bpe, trained):
    tiktoken = pytest.importorskip("tiktoken")
    vocab, merges = trained
    ranks = {token: id_ for id_, token in vocab.items()}
    assert len(ranks) == len(vocab)
    theirs = tiktoken.Encoding("kata", pat_str=bpe.PATTERN, mergeable_ranks=ranks, special_tokens={})
    ours = bpe.Tokenizer(vocab, merges)
    for text in texts():
        ids = ours.encode(text)
        assert ids == theirs.encode(text)
        assert ours.decode(ids) == theirs.decode(ids) == text


def test_encoding_equals_hugging_face(bpe):
    theirs, _, alphabet = hugging_face(corpus(4, 3000), 600, bpe.PATTERN)
    id_of = {byte: id_ for id_, byte in enumerate(alphabet)}
    merges = [
        tuple(theirs.token_to_id(side) for side in rule) for rule in json.loads(theirs.to_str())["model"]["merges"]
    ]
    renamed = [tuple(alphabet[id_] if id_ < 256 else id_ for id_ in pair) for pair in merges]
    vocab = {byte: bytes([byte]) for byte in range(256)}
    for left, right in renamed:
        vocab[len(vocab)] = vocab[left] + vocab[right]
    ours = bpe.Tokenizer(vocab, renamed)
    for text in texts():
        ids = [id_of[id_] if id_ < 256 else id_ for id_ in ours.encode(text)]
        assert ids == theirs.encode(text).ids


def test_broken_bytes_decode_as_in_tiktoken(bpe, trained):
    tiktoken = pytest.importorskip("tiktoken")
    vocab, merges = trained
    ranks = {token: id_ for id_, token in vocab.items()}
    theirs = tiktoken.Encoding("kata", pat_str=bpe.PATTERN, mergeable_ranks=ranks, special_tokens={"<|é|>": 900})
    ours = bpe.Tokenizer(vocab, merges, special_tokens={"<|é|>": 900})
    draw = random.Random(8)
    for _ in range(300):
        ids = draw.choices([*vocab, 900], k=draw.randint(0, 12))
        assert ours.decode(ids) == theirs.decode(ids)


def special_texts(count: int) -> list[str]:
    draw = random.Random(9)
    parts = [*SPECIAL, "y[z]", "s-t", " the ", "  ", "\n", "bastling", "é", "<|"]
    return ["".join(draw.choices(parts, k=draw.randint(0, 6))) for _ in range(count)]


def test_special_tokens_are_refused_where_tiktoken_refuses(bpe, trained):
    tiktoken = pytest.importorskip("tiktoken")
    vocab, merges = trained
    ranks = {token: id_ for id_, token in vocab.items()}
    theirs = tiktoken.Encoding("kata", pat_str=bpe.PATTERN, mergeable_ranks=ranks, special_tokens=SPECIAL)
    ours = bpe.Tokenizer(vocab, merges, special_tokens=SPECIAL)
    draw, both = random.Random(10), [0, 0]
    for text in special_texts(600):
        allowed = {token for token in SPECIAL if draw.random() < 0.6}
        want = refusal(lambda: theirs.encode(text, allowed_special=allowed))  # noqa: B023 — called at once
        assert refusal(lambda: ours.encode(text, allowed_special=allowed)) == want  # noqa: B023 — called at once
        both[want] += 1
    assert min(both) > 100


def refusal(encode: Callable[[], object]) -> bool:
    try:
        encode()
    except ValueError:
        return True
    return False


def test_special_tokens_are_found_as_hugging_face_finds_them(bpe):
    """Leftmost first, then longest. tiktoken's alternation has no order to rely on, so that it is no oracle here."""
    tokenizers = pytest.importorskip("tokenizers")
    theirs = hugging_face("", 256, bpe.PATTERN)[0]
    theirs.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    ours = bpe.Tokenizer(*bpe.train("", 256), special_tokens=SPECIAL)
    name = {id_: token for token, id_ in SPECIAL.items()}
    for text in special_texts(600):
        got = [name[id_] for id_ in ours.encode(text, allowed_special="all") if id_ in name]
        assert got == [token for token in theirs.encode(text).tokens if token in SPECIAL]


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_alternatives_equal_the_reference(bpe, trained, name):
    """To the last pair, where stale counts would show."""
    other = load(REFERENCE.parent / "alternatives" / f"{name}.py")
    for text, size in ((corpus(11, 800), 2000), *((text, 400) for text in small_texts(200))):
        assert other.train(text, size) == bpe.train(text, size)
    ours, theirs = (module.Tokenizer(*trained, special_tokens=SPECIAL) for module in (bpe, other))
    for text in (*texts(), *special_texts(300)):
        assert theirs.encode(text, allowed_special="all") == ours.encode(text, allowed_special="all")
