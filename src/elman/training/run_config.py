"""The configuration of a run: the content of config.json."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from elman import __version__
from elman.errors import UserError
from elman.files import seal, unseal
from elman.options import Bound
from elman.schema import from_json, to_json

FORMAT = 2
Key = Annotated[str, Bound("32 hexadecimal digits", lambda value: re.fullmatch("[0-9a-f]{32}", value) is not None)]


@dataclass(frozen=True, kw_only=True)
class DataReference:
    """The data of a run: where it was read, and the key that names its content."""

    paths: tuple[str, ...]
    key: Key


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run is. `spec` and `training` are JSON, which `Run.spec` and `Run.training` read as dataclasses.

    - kind: of task
    - elman: the version that made the run
    """

    kind: str
    spec: dict[str, Any]
    data: DataReference
    training: dict[str, Any]
    elman: str = __version__

    def sealed(self) -> bytes:
        """The content of config.json."""
        return seal({"format": FORMAT, **to_json(self)})


def read_config(path: Path, root: Path) -> RunConfig:
    """Reads config.json of the run in the folder `root`. Another format than this one is an error."""
    value = unseal(path, root)
    written, version = value.pop("format", None), value.get("elman")
    if written != FORMAT:
        remedy = "pip install --upgrade elman" if isinstance(written, int) and written > FORMAT else "train it again"
        by = f" by elman {version[:20]}" if isinstance(version, str) else ""
        raise UserError(f"{root} was written with format {written!r:.20}{by}; this elman reads {FORMAT}: {remedy}")
    return from_json(RunConfig, value, str(path))
