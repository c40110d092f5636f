"""Files written so that a crash, a full disk or a second process never leaves half of one."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from elman.errors import UserError

STANDARD_INPUT = "/dev/stdin"
SCHEMES = ("hub:", "builtin:", "cache:")  # what begins so names data that is no file


def cache_folder() -> Path:
    """Where encoded texts are kept: `ELMAN_CACHE`, or the user's cache folder."""
    own = os.environ.get("ELMAN_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elman"


def absolute(name: str) -> str:
    """A path as it is called from anywhere; a name such as hub:owner/data or builtin:dates is no path."""
    return name if name.startswith(SCHEMES) else str(Path(name).absolute())


def write(path: Path, content: bytes) -> None:
    """Writes aside, then renames: `path` holds either what it held or all of the content."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # it is gone when all went well, and what went wrong is told above
            aside.unlink()


def replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Replaces a folder by one with these files. Killed at any moment it leaves the old folder, the new one, or the
    old one under the name that `recover_folder` puts right."""
    new, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    try:
        shutil.rmtree(new, ignore_errors=True)
        for name, content in contents.items():
            write(new / name, content)
        recover_folder(folder)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def recover_folder(folder: Path) -> None:
    """Puts back what a `replace_folder` that was killed between its two renames had moved away."""
    old = folder.with_name(f".{folder.name}.old")
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a disk that is full or read only."""
    return UserError(f"cannot write {path}: {error.strerror or error}; what was there before is intact")


def seal(value: Mapping[str, Any]) -> bytes:
    """JSON with a digest of itself, that `unseal` checks."""
    body = dict(value)
    # a name of a file may hold bytes that are no text; JSON has the same escape for them as Python
    return json.dumps(body | {"digest": _digest(body)}, indent=1, ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )


def unseal(path: Path) -> dict[str, Any]:
    """Reads what `seal` gave; a file that is missing, cut short or altered is a UserError that names it."""
    try:
        value = json.loads(path.read_bytes())
        digest = value.pop("digest")
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, AttributeError, TypeError):
        raise UserError(f"{path} is damaged: it is not whole JSON with a digest") from None
    if digest != _digest(value):
        raise UserError(f"{path} was altered: its digest does not fit its contents")
    return value


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
