"""URLs of buckets: which options each service takes. Pure, and without the libraries of the services.

    s3://BUCKET/PREFIX?region=eu-central-1&endpoint=https://minio.example:9000
    gs://BUCKET/PREFIX
    az://CONTAINER/PREFIX?account=NAME
    abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX

A URL holds nothing secret: it is stored in plans and snapshots. Keys come from the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode

from pachvault.errors import UsageError

_COMMON = ("endpoint", "ca", "proxy")
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "s3": (
        *_COMMON,
        "region",
        "virtual_host",
        "storage_class",
        "sse",
        "sse_kms_key",
        "requester_pays",
        "anonymous",
    ),
    "gs": (*_COMMON, "anonymous"),
    "az": (*_COMMON, "account", "anonymous"),
}
"""The options of a URL, by scheme. docs/targets/ describes them."""
SWITCHES = frozenset({"virtual_host", "requester_pays", "anonymous"})
_CHOICES = {"sse": ("AES256", "aws:kms", "aws:kms:dsse")}
_ABFSS = ".dfs.core.windows.net"
_SECRET = ("key", "secret", "token", "password", "sas", "sig", "signature", "credential")
_HINT = "s3://BUCKET/PREFIX?region=NAME, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX?account=NAME"


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """A place in a bucket."""

    scheme: str
    """s3, gs or az."""
    bucket: str
    prefix: str
    """Without a slash at either end; empty for the whole bucket."""
    options: Mapping[str, str]

    def __str__(self) -> str:
        """The URL, always in the same form: documents compare it as text."""
        path = f"/{quote(self.prefix)}" if self.prefix else ""
        query = f"?{urlencode(sorted(self.options.items()), safe=':/')}" if self.options else ""
        return f"{self.scheme}://{self.bucket}{path}{query}"


def parse(parts: SplitResult) -> BucketUrl:
    """The place that a URL names. UsageError, which does not show the URL, where it means nothing."""
    scheme, bucket, options = parts.scheme, parts.netloc, dict(_options(parts))
    if scheme in ("abfss", "abfs", "azure"):
        container, _, host = bucket.partition("@")
        scheme = "az"
        if host:
            if not host.endswith(_ABFSS):
                raise _wrong(f"an abfss target's host ends with {_ABFSS}")
            bucket, options = container, {"account": host.removesuffix(_ABFSS), **options}
    elif scheme == "gcs":
        scheme = "gs"
    if "@" in bucket or ":" in bucket:
        raise _wrong(
            "a target's URL has no user, password or port", "endpoint=http://HOST:PORT names a server"
        )
    prefix = unquote(parts.path).strip("/")
    if not bucket:
        raise _wrong("a target in a bucket needs the bucket's name")
    if parts.fragment:
        raise _wrong("# in a target is written %23")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise _wrong("a target's path has an empty component, `.` or `..`")
    _check(scheme, options)
    return BucketUrl(scheme, bucket, prefix, options)


def _options(parts: SplitResult) -> list[tuple[str, str]]:
    try:
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _wrong("options of a target are NAME=VALUE, separated by &") from None
    names = [name for name, _ in options]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _wrong(f"option {twice!r} of the target is there twice")
    return options


def _check(scheme: str, options: Mapping[str, str]) -> None:
    for name, value in options.items():
        if name not in OPTIONS[scheme]:
            if any(word in name.lower() for word in _SECRET):
                raise _wrong(
                    f"a target's URL holds no secrets such as {name!r}: it is stored in plans and snapshots",
                    "keys come from the environment: docs/targets",
                )
            raise _wrong(
                f"{scheme} targets have no option {name!r}", f"allowed: {', '.join(OPTIONS[scheme])}"
            )
        allowed = ("true", "false") if name in SWITCHES else _CHOICES.get(name)
        if allowed and value not in allowed:
            raise _wrong(f"option {name!r} of the target is one of {', '.join(allowed)}")
        if not value:
            raise _wrong(f"option {name!r} of the target is empty")
        if name in ("endpoint", "proxy") and not value.startswith(("http://", "https://")):
            raise _wrong(f"option {name!r} of the target begins with http:// or https://")
        if name in ("endpoint", "proxy") and "@" in value:
            raise _wrong(f"option {name!r} of the target has no user or password")
    if "sse_kms_key" in options and not options.get("sse", "").startswith("aws:kms"):
        raise _wrong("option 'sse_kms_key' of the target needs sse=aws:kms")


def _wrong(what: str, hint: str = _HINT) -> UsageError:
    return UsageError(what, where="target", hint=hint)
