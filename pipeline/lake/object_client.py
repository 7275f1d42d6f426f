"""The client of an object store: from a URI and the environment to one of obstore's stores."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.lake.aws_profile import from_profile
from pipeline.version import __version__

RETRIES = {
    "max_retries": 8,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
    "retry_timeout": timedelta(minutes=3),
}
"""About ten seconds until a server that refuses connections counts as unreachable."""
LIMITS = {"connect_timeout": "10s", "read_timeout": "120s", "timeout": "6h"}
"""What counts is how long the server is silent: a request may take as long as a slow line needs for a large file."""
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT")
CA_BUNDLE = "AWS_CA_BUNDLE"
INSTALL = "pip install 'review-pipeline[s3]'"


def client_for(uri: str) -> Any:
    """The obstore store for a URI that `check_uri` has passed. Sends no request.

    Raises:
        UsageError: obstore is not installed, or a setting in the environment is invalid.
    """
    try:
        from obstore import store
        from obstore.exceptions import BaseError
    except ModuleNotFoundError as error:
        raise UsageError(f"{uri} needs obstore, which is not installed. Install it with: {INSTALL}") from error
    scheme, _, rest = uri.partition("://")
    place, _, prefix = rest.partition("/")
    arguments: dict[str, Any] = from_profile() if scheme == "s3" else {}
    arguments |= {"client_options": _client_options(arguments), "retry_config": RETRIES}
    try:
        if scheme == "s3":
            return store.S3Store(place, prefix=prefix or None, **arguments)
        if scheme == "gs":
            return store.GCSStore(place, prefix=prefix or None, **arguments)
        container, _, prefix = prefix.partition("/")
        return store.AzureStore(container, account_name=place, prefix=prefix or None, **arguments)
    except (BaseError, ValueError, OSError) as error:
        raise UsageError(
            f"{uri} cannot be opened: {first_line(error)}. Check the storage's settings in the environment; "
            "docs/object-stores.md lists them."
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error of obstore; what follows it is for its developers."""
    return str(error).partition("\n")[0].strip().rstrip(".:") or type(error).__name__


def _client_options(arguments: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {**LIMITS, "user_agent": f"review-pipeline/{__version__}"}
    endpoints = (arguments.get("endpoint", ""), *(os.environ.get(name, "") for name in ENDPOINTS))
    if any(endpoint.startswith("http://") for endpoint in endpoints):
        options["allow_http"] = True  # whoever writes the scheme of an endpoint means it
    if bundle := os.environ.get(CA_BUNDLE):
        try:
            options["root_certificate"] = Path(bundle).read_bytes()
        except OSError as error:
            raise UsageError(f"{CA_BUNDLE} {bundle} cannot be read: {error.strerror}. Correct or unset it.") from error
    return options
