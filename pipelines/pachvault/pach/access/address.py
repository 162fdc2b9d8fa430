"""The address of pachd, with what TLS needs: one text for options, environment, specs and Python."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

from pachvault.errors import UsageError

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[\w.-]+)?")
_INLINE = "base64:"

_TLS_FAILURES = (
    (
        re.compile(r"unable to get (local )?issuer|self.signed|unknown ca", re.I),
        "no CA that is known here has signed the server's certificate",
        "name its CA: grpcs://host:port?ca=FILE, or PACHD_CA",
    ),
    (
        re.compile(r"Hostname Verification|not in peer certificate", re.I),
        "the server's certificate is for another name",
        "for the right server give it: grpcs://host:port?server_name=NAME, or PACHD_SERVER_NAME",
    ),
    (
        re.compile(r"certificate has expired|not yet valid", re.I),
        "the server's certificate has expired, or is not yet valid",
        "renew it, or check this machine's clock",
    ),
    (re.compile(r"WRONG_VERSION_NUMBER"), "the server does not speak TLS", "is it grpc:// and not grpcs://?"),
    (re.compile(r"handshake failed", re.I), "TLS could not be agreed on", "is this a Pachyderm's address?"),
)
"""What gRPC reports where TLS fails, what that means, and what to do. A retry would not help."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where pachd listens."""

    host: str
    port: int
    secure: bool
    ca: str = ""
    """A PEM file with the CAs to trust in place of the system's, or `base64:` and its bytes."""
    server_name: str = ""
    """The name that the server's certificate has, where that is not the host."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """`grpc://host:port`, `grpcs://…?ca=FILE&server_name=NAME`, `http(s)://…` or `host:port`.

        Raises UsageError for anything else.
        """
        bad = UsageError(f"not a Pachyderm address: {text!r}", hint="grpc://host:port or grpcs://host:port")
        try:
            parts = urlsplit(text if "//" in text else f"grpc://{text}")
            port = parts.port
            options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        except ValueError as error:
            raise bad from error
        host = parts.hostname or ""
        if parts.scheme not in ("grpc", "grpcs", "http", "https") or not _HOST.fullmatch(host):
            raise bad
        secure = parts.scheme in ("grpcs", "https")
        unknown = options.keys() - {"ca", "server_name"}
        if unknown or (options and not secure):
            what = f"unknown option {min(unknown)!r}" if unknown else "ca and server_name are for grpcs://"
            raise UsageError(f"not a Pachyderm address: {text!r}: {what}", hint="grpcs://host:port?ca=FILE")
        return cls(
            host,
            port or (443 if secure else 30650),
            secure,
            options.get("ca", ""),
            options.get("server_name", ""),
        )

    def __str__(self) -> str:
        return f"{'grpcs' if self.secure else 'grpc'}://{self.target}"

    @property
    def url(self) -> str:
        """The address with its options, as `parse` takes it."""
        given = {"ca": self.ca, "server_name": self.server_name}
        options = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in given.items() if value)
        return f"{self}?{options}" if options else str(self)

    @property
    def target(self) -> str:
        """`host:port`, as gRPC wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, by its name alone."""
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return self.host == "localhost"

    def roots(self) -> bytes | None:
        """The CAs to trust, as PEM; None for gRPC's own. UsageError where `ca` is no such file."""
        if not self.ca:
            return None
        import ssl  # noqa: PLC0415  (start-up does not wait for it)

        where = "the CA of pachctl's context" if self.ca.startswith(_INLINE) else self.ca
        try:
            pem = self._pem()
            # gRPC says nothing of a file that holds no certificate
            ssl.create_default_context(cadata=pem.decode("ascii"))
        except OSError as error:  # ssl.SSLError is one
            reason = "no PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(f"the CA file cannot be used: {reason}", where=where) from error
        except ValueError as error:
            raise UsageError("the CA file cannot be used: no PEM certificates", where=where) from error
        return pem

    def _pem(self) -> bytes:
        if not self.ca.startswith(_INLINE):
            return Path(self.ca).read_bytes()
        try:
            return base64.b64decode(self.ca.removeprefix(_INLINE), validate=True)
        except binascii.Error as error:
            raise ValueError("not base64") from error


def with_tls(text: str, ca: str | None, server_name: str | None) -> str:
    """An address with a CA and a server name, unless it is not of TLS or names them itself."""
    address = Address.parse(text)
    if not address.secure:
        return text
    return Address(
        address.host, address.port, True, address.ca or ca or "", address.server_name or server_name or ""
    ).url


def tls_failure(reason: str) -> tuple[str, str] | None:
    """What a failed TLS handshake means, and what to do about it; None for the text of another failure."""
    return next(((what, hint) for pattern, what, hint in _TLS_FAILURES if pattern.search(reason)), None)
