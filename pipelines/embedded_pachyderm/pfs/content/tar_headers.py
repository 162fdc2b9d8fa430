"""Tar headers as Go's archive/tar writes them for a bare name and size: USTAR where it fits, else PAX."""

from __future__ import annotations

BLOCK = 512
END = b"\0" * (2 * BLOCK)
_OCTAL_LIMIT = 8**11

_MODE_OWNER = b"0000000\0" * 3
_TIME = b"00000000000\0"
_BLANK_SUM = b" " * 8
_LINK = b"\0" * 100
_MAGIC = b"ustar\x0000" + b"\0" * 64
_DEVICE = b"0000000\0" * 2
_NO_DEVICE = b"\0" * 16  # in the header of PAX records
_AFTER_PREFIX = b"\0" * 12
# what the bytes of a header that never change add up to
_FIXED_SUM = sum(_MODE_OWNER + _TIME + _BLANK_SUM + _LINK + _MAGIC + _AFTER_PREFIX)


def header(name: str, size: int) -> bytes:
    """The header blocks of a file, or of a directory when the name ends in a slash."""
    fitted = _fit(name)
    if fitted is not None and size < _OCTAL_LIMIT:
        return _block(fitted[0], fitted[1], size, b"5" if name.endswith("/") else b"0")
    records = []
    if fitted is None:
        records.append(_record("path", name))
    if size >= _OCTAL_LIMIT:
        records.append(_record("size", str(size)))
    body = "".join(records).encode()
    directory, _, base = name.rpartition("/")
    special = f"{directory}/PaxHeaders.0/{base}".encode()[:100].rstrip(b"/")
    plain = name.encode()[:100]
    return (
        _block(special, b"", len(body), b"x")
        + body
        + padding(len(body))
        + _block(plain, b"", size if size < _OCTAL_LIMIT else 0, b"5" if name.endswith("/") else b"0")
    )


def padding(size: int) -> bytes:
    """The zeros that fill a file's last block."""
    return b"\0" * (-size % BLOCK)


def _fit(name: str) -> tuple[bytes, bytes] | None:
    """The name and prefix fields, if USTAR can hold the path."""
    data = name.encode()
    if len(data) <= 100:
        return data, b""
    cut = data[: min(len(data) - (data[-1:] == b"/"), 156)].rfind(b"/")
    rest = data[cut + 1 :]
    if cut <= 0 or len(rest) > 100 or not rest or cut > 155:
        return None
    return rest, data[:cut]


def _record(key: str, value: str) -> str:
    """A PAX record, which begins with its own length."""
    length = len(key) + len(value) + 3
    while len(text := f"{length} {key}={value}\n") != length:
        length = len(text)
    return text


def _block(name: bytes, prefix: bytes, size: int, kind: bytes) -> bytes:
    size_field = b"%011o\0" % size
    device = _NO_DEVICE if kind == b"x" else _DEVICE
    checksum = _FIXED_SUM + sum(name) + sum(prefix) + sum(size_field) + sum(device) + kind[0]
    return b"".join(
        (
            name.ljust(100, b"\0"),
            _MODE_OWNER,
            size_field,
            _TIME,
            b"%06o\0 " % checksum,
            kind,
            _LINK,
            _MAGIC,
            device,
            prefix.ljust(155, b"\0"),
            _AFTER_PREFIX,
        )
    )
