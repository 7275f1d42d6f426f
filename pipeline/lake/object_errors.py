"""From the errors of obstore to ours: what happened, to what, and what to do."""

import re

from pipeline.errors import CannotWriteError, InputNotFoundError, PipelineError, StorageUnavailableError, UsageError
from pipeline.lake.object_client import first_line
from pipeline.lake.store import StoreChangedError, StoreMissingError, StoreRefusedError, StoreUnsupportedError, missing

_QUERY = re.compile(r"(https?://[^\s?]+)\?[^\s)\"']+")
"""The query of a URL: Azure's may contain a signature."""
_STATUS = re.compile(r"status code: (\d+)")
_CODE = re.compile(r"<Code>(.*?)</Code>")
_ANSWER = re.compile(r":\s*<.*?<Code>(.*?)</Code>.*", re.DOTALL)
"""The document that S3 answers with."""
_NO_CREDENTIALS = ("169.254.169.254", "metadata.google.internal", "Missing credentials", "MissingCredentials")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
DENIED, NOT_IMPLEMENTED = (401, 403), 501
_LATER = (408, 425, 429)
_EXPIRED = ("ExpiredToken", "TokenRefreshRequired", "RequestExpired")
_OF_THE_NETWORK = ("RequestTimeout", "IncompleteBody", "BadDigest")
"""What S3 answers with status 400 although the request was right when it was sent."""


def translated(error: Exception, uri: str, name: str, *, writing: bool) -> PipelineError:
    """Our error for an error of obstore while it asked the store `uri` about the object `name`."""
    from obstore import exceptions

    text = str(error)
    reason = _ANSWER.sub(r" (\1)", _QUERY.sub(r"\1?…", first_line(error)))
    found = _STATUS.search(text)
    status = int(found[1]) if found else None
    where = f"{uri}/{name}" if name else uri
    if any(mark in text for mark in _NO_BUCKET):
        return InputNotFoundError(f"{uri}: there is no such bucket. Check its name, the region and the endpoint.")
    if any(mark in text for mark in _NO_CREDENTIALS):
        return StoreRefusedError(
            f"no credentials for {uri} were found in the environment, in the files of the storage's tools, or on this "
            "machine. Set them as docs/object-stores.md describes."
        )
    if isinstance(error, FileNotFoundError):
        return StoreMissingError(missing(uri, name))
    if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
        return StoreChangedError(f"{where} was changed meanwhile.")
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError) or status in DENIED:
        return _refused(where, text, reason, writing=writing)
    if isinstance(error, exceptions.InvalidPathError | ValueError):
        return UsageError(f"{where}: {reason}. Rename the object: names must not have empty parts, '.' or '..'.")
    if status == NOT_IMPLEMENTED or isinstance(error, exceptions.NotSupportedError):
        return StoreUnsupportedError(f"{uri} does not support this request: {reason}.")
    if "redirect" in reason.lower():
        return StoreRefusedError(f"{uri} is in another region: {reason}. Set AWS_REGION to the region of the bucket.")
    if status is not None and 400 <= status < 500 and status not in _LATER and _code(text) not in _OF_THE_NETWORK:
        return _refused(where, text, reason, writing=writing)
    return StorageUnavailableError(f"{uri} does not answer: {reason}. Check the network, or try again later.")


def _code(text: str) -> str:
    """What S3 calls the error in its answer; an answer to HEAD has no name for it."""
    found = _CODE.search(text)
    return found[1] if found else ""


def _refused(where: str, text: str, reason: str, *, writing: bool) -> PipelineError:
    if "RequestTimeTooSkewed" in text:
        return StoreRefusedError(f"{where}: refused because this machine's clock is wrong. Set the clock.")
    if _code(text) in _EXPIRED:
        return StoreRefusedError(f"{where}: the credentials have expired. Renew them, then run the same command again.")
    message = (
        f"{where}: the store denies {'writing' if writing else 'reading'}: {reason}. Check the credentials and their "
        "permissions; docs/object-stores.md has the smallest policy that works."
    )
    return CannotWriteError(message) if writing else StoreRefusedError(message)
