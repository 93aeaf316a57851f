"""Files that know whether they are still what was written."""

import hashlib
from pathlib import Path

from builders.errors import UserError

SEAL = b"\ncodecsmith sha256 "
"""The file's data are followed by these bytes and the SHA-256 of all before, in hexadecimal.
Readers of HDF5 and ZIP do not look there. Without it HDF5 would load a changed byte as a weight,
and some changed bytes keep it busy for ever."""

_LENGTH = len(SEAL) + 2 * hashlib.sha256().digest_size


def seal(path: Path) -> None:
    """Appends a seal to a file that is otherwise complete."""
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(SEAL + digest)


def is_sealed(path: Path) -> bool:
    """Whether a file ends in a seal, and in that case is whole.

    Raises:
        UserError: it has one that is not its own: the file was changed.
    """
    size = path.stat().st_size - _LENGTH
    if size < 0:
        return False
    with path.open("rb") as file:
        file.seek(size)
        found = file.read()
    if not found.startswith(SEAL):
        return False
    if found != SEAL + _digest(path, size):
        raise UserError(f"{path}: damaged: its bytes are not those that were written")
    return True


def _digest(path: Path, size: int) -> bytes:
    """SHA-256 of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (part := file.read(min(size, 1 << 20))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest().encode()
