"""Clients of object stores, made from URLs. Credentials come from where each service's users keep them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from pachvault.errors import UsageError
from pachvault.store.bucket_url import BucketUrl
from pachvault.store.object_store import ObjectStore

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_RETRIES: RetryConfig = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=10), "base": 2},
}
"""Of requests that fail for the moment: no answer, 429 and 5xx. Their waits have jitter."""
_CONNECT = timedelta(seconds=10)
_SILENCE = timedelta(seconds=60)
"""How long a connection may be silent. A whole request has no limit: a pack on a slow line takes minutes."""


def open_bucket(url: BucketUrl) -> ObjectStore:
    """The store at a bucket's URL. No request is sent. UsageError where an option means nothing."""
    client: S3Store | GCSStore | AzureStore
    try:
        options = _client_options(url.options)
        if url.scheme == "s3":
            client = _s3(url, options)
        else:
            client = _gcs(url, options) if url.scheme == "gs" else _azure(url, options)
    except (BaseError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"cannot use this target: {reason}", where=str(url)) from error
    return ObjectStore(str(url), client, url.options.get("storage_class", ""))


def _s3(url: BucketUrl, client: ClientConfig) -> S3Store:
    options = url.options
    config: dict[str, Any] = {
        "virtual_hosted_style_request": options.get("virtual_host") == "true",
        "skip_signature": options.get("anonymous") == "true",
        # some servers do not have the request that deletes several objects
        "disable_bulk_delete": True,
        # of an S3-compatible server any region will do; AWS's own default is this one, too
        "region": options.get("region")
        or os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION")
        or "us-east-1",
    }
    if "requester_pays" in options:
        config["request_payer"] = options["requester_pays"] == "true"
    names = {"endpoint": "endpoint", "sse": "server_side_encryption", "sse_kms_key": "sse_kms_key_id"}
    config |= {names[name]: value for name, value in options.items() if name in names}
    return S3Store(url.bucket, **_common(url, client, _profile()), config=config)  # type: ignore[arg-type]


def _gcs(url: BucketUrl, client: ClientConfig) -> GCSStore:
    config: dict[str, Any] = {}
    if "endpoint" in url.options:
        config["base_url"] = url.options["endpoint"]
    if url.options.get("anonymous") == "true":
        config["skip_signature"] = True
    return GCSStore(url.bucket, **_common(url, client), config=config)  # type: ignore[arg-type]


def _azure(url: BucketUrl, client: ClientConfig) -> AzureStore:
    names = {"account": "account_name", "endpoint": "endpoint"}
    config: dict[str, Any] = {names[name]: value for name, value in url.options.items() if name in names}
    if url.options.get("anonymous") == "true":
        config["skip_signature"] = True
    return AzureStore(url.bucket, **_common(url, client), config=config)  # type: ignore[arg-type]


def _common(url: BucketUrl, client: ClientConfig, provider: Any = None) -> dict[str, Any]:
    common = {"prefix": url.prefix or None, "client_options": client, "retry_config": _RETRIES}
    return common | ({"credential_provider": provider} if provider else {})


def _profile() -> Any:
    """Credentials of a profile of AWS's shared files; None where the environment names none."""
    if "AWS_PROFILE" not in os.environ or "AWS_ACCESS_KEY_ID" in os.environ:
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - boto3 is an extra
    except ImportError:
        raise UsageError(
            "AWS_PROFILE is set, and boto3, which reads profiles, is not installed",
            where="target",
            hint="pip install 'pachvault[aws]', or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from None
    return Boto3CredentialProvider()


def _client_options(options: Mapping[str, str]) -> ClientConfig:
    client: ClientConfig = {
        "connect_timeout": _CONNECT,
        "read_timeout": _SILENCE,
        "timeout": timedelta(days=1),
        "allow_http": options.get("endpoint", "").startswith("http://"),
        "user_agent": "pachvault",
    }
    if "proxy" in options:
        client["proxy_url"] = options["proxy"]
    if "ca" in options:
        client["root_certificate"] = Path(options["ca"]).read_bytes()
    return client
