"""Checkpoints: arrays and a description in one safetensors file, written so that a crash cannot harm the old one."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from threefactor.arrays import Array

FORMAT = "threefactor-2"


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not one of what was asked for, or damaged."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that `path` holds either its old or its new content, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _checksum(kind: str, about: str, arrays: Mapping[str, Array]) -> int:
    checksum = zlib.crc32(f"{kind}\n{about}".encode())
    for name in sorted(arrays):
        checksum = zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes(), zlib.crc32(name.encode(), checksum))
    return checksum


def save_checkpoint(path: str | os.PathLike[str], kind: str, arrays: Mapping[str, Array], about: Any) -> None:
    """Write arrays and a JSON-able description; `kind` says what they are a checkpoint of."""
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = json.dumps(about, sort_keys=True)
    checksum = str(_checksum(kind, described, kept))
    metadata = {"format": FORMAT, "kind": kind, "about": described, "checksum": checksum}
    write_atomically(Path(path), save(kept, metadata))


def load_checkpoint(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Array], Any]:
    """Arrays and description of a checkpoint.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CheckpointError
        It is no checkpoint, one of another kind, or its content has changed since it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}.")
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({error}); give a file that `save` wrote."
        ) from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of format {metadata.get('format')!r}, this version reads {FORMAT!r}.")
    if metadata.get("kind") != kind:
        raise CheckpointError(f"{path} is a checkpoint of {metadata.get('kind')}, not of {kind}.")
    about = metadata.get("about", "")
    if metadata.get("checksum") != str(_checksum(kind, about, arrays)):
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum; use an older checkpoint.")
    try:
        return arrays, json.loads(about)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} has a description that cannot be read: {error}.") from None


@contextlib.contextmanager
def describing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what a description that does not fit raises into a CheckpointError."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} does not describe what this version can load: {error!r}.") from None


def restore(target: Array, arrays: Mapping[str, Array], name: str) -> None:
    """Copy a saved array into one of the same shape and type."""
    if name not in arrays:
        raise CheckpointError(f"the checkpoint lacks {name!r}.")
    saved = arrays[name]
    if saved.shape != target.shape or saved.dtype != target.dtype:
        raise CheckpointError(
            f"{name!r} is {saved.dtype}{saved.shape} in the checkpoint, {target.dtype}{target.shape} here."
        )
    target[...] = saved


class Kept:
    """What pickles as `arrays` and `about`, which JSON can hold, is saved and loaded as a checkpoint of its class.

    Attributes
    ----------
    not_kept : tuple of str
        What no checkpoint can hold, such as functions; `load` takes it.
    """

    not_kept: ClassVar[tuple[str, ...]] = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint from which `load` goes on exactly here."""
        kept: Any = self.__getstate__()
        save_checkpoint(path, type(self).__name__, kept["arrays"], kept["about"])

    @classmethod
    def load(cls, path: str | os.PathLike[str], **given: Any) -> Self:
        """From a checkpoint.

        Parameters
        ----------
        path : path
        **given
            What a checkpoint cannot hold, `not_kept`, as it was when it was saved.

        Raises
        ------
        FileNotFoundError, CheckpointError
            No such file; not a checkpoint of this class, or a damaged one.
        TypeError
            Something else is given.
        """
        unknown = given.keys() - set(cls.not_kept)
        if unknown:
            raise TypeError(f"{cls.__name__}.load takes {cls.not_kept or 'a path alone'}, not {sorted(unknown)}.")
        arrays, about = load_checkpoint(path, cls.__name__)
        found: Any = cls.__new__(cls)
        with describing(path):
            found.__setstate__({**given, "arrays": arrays, "about": about})
        return found  # type: ignore[no-any-return]
