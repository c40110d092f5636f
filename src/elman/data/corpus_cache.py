"""Encoded texts in the cache, named by their content."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elman.data.cache import cache_path, map_arrays, read_bytes
from elman.errors import UserError
from elman.files import cannot_write, write
from elman.tokenizers.registry import from_json, token_dtype
from elman.tokenizers.tokenizer import Tokenizer

FOLDER, PREFIX = "corpora", "cache:"


@dataclass(frozen=True)
class Corpus:
    """The tokens of a text.

    - ids: (N,) unsigned integers, mapped read only
    - key: 32 hexadecimal digits that name the content
    - paths: what `corpus.read` finds it under again
    - notes: lines to log
    - train: number of tokens of the training split, where the vocabulary was learned from that alone
    """

    ids: np.ndarray
    tokens: Tokenizer
    key: str
    paths: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    train: int | None = None


def load(key: str) -> Corpus | None:
    """The cached corpus of that content; None where it is missing or damaged. UserError for an invalid key."""
    path = cache_path(FOLDER, key)
    try:
        stored = json.loads(read_bytes(path.with_suffix(".json")))
        length, notes, train = stored["length"], stored.get("notes", []), stored.get("train")
        if not _is_count(length) or not (train is None or (_is_count(train) and train <= length)):
            return None
        if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
            return None
        tokens = from_json(stored["tokens"])
        [ids] = map_arrays(path.with_suffix(".ids"), (token_dtype(len(tokens)), (length,)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, UserError):
        return None
    return Corpus(ids, tokens, key, [PREFIX + key], notes, train)


def save(key: str, tokens: Tokenizer, blocks: Iterable[tuple[bool, np.ndarray]], reason: str) -> Corpus:
    """Stores a text, block by block, each with whether it belongs to the training split. The share of unknown tokens
    becomes a note; `reason` is which tokens are unknown."""
    path = cache_path(FOLDER, key)
    aside = path.with_suffix(f".{os.getpid()}")
    dtype, sizes, unknown = token_dtype(len(tokens)), {True: 0, False: 0}, {True: 0, False: 0}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            aside.unlink()
        with aside.open("xb") as out:
            for is_train, ids in blocks:
                out.write(ids.astype(dtype).tobytes())
                sizes[is_train] += len(ids)
                unknown[is_train] += 0 if tokens.unknown is None else int((ids == tokens.unknown).sum())
        aside.replace(path.with_suffix(".ids"))
        stored: dict[str, Any] = {"length": sum(sizes.values()), "tokens": tokens.to_json()}
        if tokens.learned:
            stored |= {"train": sizes[True], "notes": _unknown_fractions(tokens, sizes, unknown, reason)}
        write(path.with_suffix(".json"), json.dumps(stored).encode())
    except OSError as error:
        raise cannot_write(path.with_suffix(".ids"), error) from error
    finally:
        with suppress(OSError):  # it was renamed, or the error is raised above
            aside.unlink()
    found = load(key)
    if found is None:
        raise UserError(f"the encoded text {path}.ids could not be read back")
    return found


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _unknown_fractions(tokens: Tokenizer, sizes: dict[bool, int], unknown: dict[bool, int], reason: str) -> list[str]:
    if not any(unknown.values()):
        return []
    names = {True: f"of the {tokens.unit}s of the training split", False: "of the rest"}
    fractions = [f"{unknown[split] / sizes[split]:.1%} {name}" for split, name in names.items() if sizes[split]]
    return [f"{' and '.join(fractions)} are {tokens.decode([tokens.unknown or 0])}: {reason}"]
