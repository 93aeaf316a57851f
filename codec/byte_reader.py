"""Reading fields from bytes that may be hostile, and the varint they are made of."""

import struct

from codec.errors import NicError, NicFieldError, NicTruncatedError

MAX_VARINT_BYTES = 5


def varint(value: int) -> bytes:
    """Writes an integer from 0 to 2**35 - 1: LEB128, seven bits a byte, the least first.

    Args:
        value: the integer.

    Returns:
        One to five bytes; bit 7 is set in all but the last, and only a lone byte may be 0.
    """
    if not 0 <= value < 1 << 7 * MAX_VARINT_BYTES:
        raise ValueError(f"{value} does not fit a varint")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class ByteReader:
    """A position in bytes that are read once, from the front to the back.

    Args:
        data: all the bytes.
        what: what they are, for messages: "file".
        field_error: raised for a value that is out of range.
    """

    def __init__(
        self, data: bytes, what: str = "file", field_error: type[NicError] = NicFieldError
    ) -> None:
        self._data = data
        self._what = what
        self._field_error = field_error
        self.position = 0

    def peek(self, size: int) -> bytes:
        """Returns the next `size` bytes, or as many as there are, and stays where it is."""
        return self._data[self.position : self.position + size]

    def take(self, size: int, field: str) -> bytes:
        """Returns the next `size` bytes.

        Raises:
            NicTruncatedError: there are fewer left.
        """
        end = self.position + size
        if end > len(self._data):
            raise NicTruncatedError(
                f"the {self._what} is cut short: {field} ends at byte {end}, "
                f"the {self._what} at {len(self._data)}"
            )
        chunk = self._data[self.position : end]
        self.position = end
        return chunk

    def byte(self, field: str) -> int:
        """Returns the next byte as an integer."""
        return self.take(1, field)[0]

    def uint32(self, field: str) -> int:
        """Returns the next four bytes as an unsigned integer, little-endian."""
        value: int = struct.unpack("<I", self.take(4, field))[0]
        return value

    def varint(self, field: str) -> int:
        """Returns the next varint; see `varint`.

        Raises:
            NicTruncatedError: the bytes end inside it.
            NicFieldError: it has more than five bytes, or a needless last one.
        """
        value = 0
        for shift in range(0, 7 * MAX_VARINT_BYTES, 7):
            byte = self.byte(field)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise self._field_error(f"{field} is written with more bytes than it needs")
                return value
        raise self._field_error(f"{field} is longer than {MAX_VARINT_BYTES} bytes")
