"""What can be wrong with coded bytes: one class for each cause, all of them `NicError`."""


class NicError(Exception):
    """A `.nic` file, or a part of one, that can't be decoded. The message is one clear line."""


class NicMagicError(NicError):
    """The bytes don't begin as a `.nic` file does."""


class NicVersionError(NicError):
    """The format's version is not one that this program reads."""


class NicTruncatedError(NicError):
    """The bytes end before what they announce does."""


class NicTrailingError(NicError):
    """There are bytes after the end of the file."""


class NicChecksumError(NicError):
    """The file's CRC32 does not match: it was damaged after it was written."""


class NicFieldError(NicError):
    """A field has a value that is out of its range, or is not written in the one way allowed."""


class NicStreamError(NicError):
    """An entropy-coded stream that no encoder wrote with these tables."""


class NicLatentsError(NicError):
    """The decoded latents are not the ones that were coded."""


class NicModelError(NicError):
    """The file was written with another model than the one at hand."""


class NicTableError(NicError):
    """The bytes of a set of frequency tables are not well formed."""


class NicAlphaError(NicError):
    """The bytes of an alpha plane are not well formed."""


class NicNetworkError(NicError):
    """A model's integer network is not well formed."""


class NicBundleError(NicError):
    """A bundle is not whole, is damaged, or is of another version."""
