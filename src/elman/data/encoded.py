"""Encoded texts, kept in the cache folder by their content."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elman.errors import UserError
from elman.files import cache_folder, cannot_write, write
from elman.tokenizers.registry import Tokenizer, from_json, narrowest


@dataclass(frozen=True)
class Corpus:
    """The tokens of a text: `ids` is a read-only memory map; `key` names the content; `notes` are lines to log.
    `train`: how many tokens the training part has, where the tokens were learnt from it alone."""

    ids: np.ndarray
    tokens: Tokenizer
    key: str
    notes: list[str] = field(default_factory=list)
    train: int | None = None
    paths: list[str] = field(default_factory=list)


def reopen(key: str) -> Corpus | None:
    """The corpus of that content; None when it is not in the cache, or not whole."""
    home = _home(key)
    try:
        about = json.loads(home.with_suffix(".json").read_text("utf-8"))
        # as a plain array: a step of `np.memmap` costs more than the read
        ids = np.memmap(home.with_suffix(".ids"), np.dtype(about["dtype"]), "r").view(np.ndarray)
        if len(ids) != about["length"]:
            return None
        return Corpus(ids, from_json(about["tokens"]), key, about.get("notes", []), about.get("train"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(key: str, tokens: Tokenizer, blocks: Iterable[tuple[bool, np.ndarray]], what: str) -> Corpus:
    """Stores a text, block by block, each with whether it belongs to the training part. What of it is unknown becomes
    a note; `what` tells the unknown from the rest."""
    home = _home(key)
    aside = home.with_suffix(f".{os.getpid()}")
    dtype, sizes, unknown = narrowest(len(tokens)), {True: 0, False: 0}, {True: 0, False: 0}
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as out:
            for trained, ids in blocks:
                out.write(ids.astype(dtype).tobytes())
                sizes[trained] += len(ids)
                unknown[trained] += 0 if tokens.unknown is None else int((ids == tokens.unknown).sum())
        aside.replace(home.with_suffix(".ids"))
        about = {"dtype": str(dtype), "length": sum(sizes.values()), "tokens": tokens.to_json()}
        if tokens.learnt:
            about |= {"train": sizes[True], "notes": _shares(tokens, sizes, unknown, what)}
        write(home.with_suffix(".json"), json.dumps(about).encode())
    except OSError as error:
        raise cannot_write(home.with_suffix(".ids"), error) from error
    finally:
        with suppress(OSError):  # it is gone when all went well, and what went wrong is told above
            aside.unlink()
    stored = reopen(key)
    if stored is None:
        raise UserError(f"the encoded text {home}.ids could not be read back")
    return stored


def _shares(tokens: Tokenizer, sizes: dict[bool, int], unknown: dict[bool, int], what: str) -> list[str]:
    if not any(unknown.values()):
        return []
    parts = {True: f"of the {tokens.unit}s of the training part", False: "of the rest"}
    told = [f"{unknown[part] / sizes[part]:.1%} {name}" for part, name in parts.items() if sizes[part]]
    return [f"{' and '.join(told)} are {tokens.decode([tokens.unknown or 0])}: {what}"]


def _home(key: str) -> Path:
    return cache_folder() / "corpora" / key
