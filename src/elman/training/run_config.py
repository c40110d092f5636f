"""The configuration of a run: the content of config.json."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from elman import __version__
from elman.errors import UserError
from elman.files import unseal
from elman.options import Bound
from elman.schema import from_json, to_json

FORMAT = 2
Key = Annotated[str, Bound("32 hexadecimal digits", lambda value: re.fullmatch("[0-9a-f]{32}", value) is not None)]


@dataclass(frozen=True)
class _Data:
    """Where the data was read, and the key that names its content."""

    paths: list[str]
    key: Key


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The fields of config.json beside its format."""

    elman: str
    kind: str
    spec: dict[str, Any]
    data: _Data
    training: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run is.

    - kind: of task
    - spec: the Spec of the task, as JSON, which `Run.spec` reads
    - paths, key: where the data was read, and 32 hexadecimal digits that name its content
    - training: the options of training, as JSON, which `Run.training` reads
    - elman: the version that made the run
    """

    kind: str
    spec: dict[str, Any]
    paths: list[str]
    key: str
    training: dict[str, Any]
    elman: str = __version__

    def to_json(self) -> dict[str, Any]:
        """The content of config.json."""
        data = _Data(self.paths, self.key)
        stored = _Stored(elman=self.elman, kind=self.kind, spec=self.spec, data=data, training=self.training)
        return {"format": FORMAT, **to_json(stored)}

    def check(self, path: Path) -> None:
        """Raises a UserError where what is stored at the path could not be read again."""
        _read(self.to_json(), path, path.parent)


def read_config(path: Path, root: Path) -> RunConfig:
    """Reads config.json of the run in the folder `root`. Another format than this one is an error."""
    return _read(unseal(path, root), path, root)


def _read(value: dict[str, Any], path: Path, root: Path) -> RunConfig:
    written, version = value.pop("format", None), value.get("elman")
    if written != FORMAT:
        remedy = "pip install --upgrade elman" if isinstance(written, int) and written > FORMAT else "train it again"
        by = f" by elman {version[:20]}" if isinstance(version, str) else ""
        raise UserError(f"{root} was written with format {written!r:.20}{by}; this elman reads {FORMAT}: {remedy}")
    stored = from_json(_Stored, value, str(path))
    return RunConfig(
        kind=stored.kind, spec=stored.spec, paths=stored.data.paths, key=stored.data.key, training=stored.training,
        elman=stored.elman,
    )  # fmt: skip
