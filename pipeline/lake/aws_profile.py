"""Credentials and settings of S3 from the files that the AWS command line writes.

`obstore` reads the environment, web identities, and the credentials of containers and instances by itself, but not
`~/.aws/credentials` and `~/.aws/config`. Static keys in them are read here; what must be asked of a service (single
sign-on, roles, commands) is left to boto3.

Source: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
"""

import configparser
import importlib.util
import os
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError, unknown_choice

FOUND_BY_OBSTORE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
"""Environment variables with credentials, which take precedence over files."""
ASKS = ("sso_session", "sso_start_url", "role_arn", "credential_process", "login_session")
"""Settings of profiles whose credentials must be asked of somebody."""
SETTINGS = {
    "region": ("region", ("AWS_REGION", "AWS_DEFAULT_REGION")),
    "endpoint_url": ("endpoint", ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")),
}
"""Settings of a profile: what obstore calls them, and the environment variables that take precedence."""


def from_profile() -> dict[str, Any]:
    """Arguments of obstore's `S3Store` that the selected profile (AWS_PROFILE, or `default`) adds to the environment.

    Raises:
        UsageError: AWS_PROFILE names a profile that does not exist, or boto3 is needed and not installed.
    """
    name = os.environ.get("AWS_PROFILE") or "default"
    profiles = _profiles()
    if name not in profiles:
        if name != "default":
            raise unknown_choice("AWS_PROFILE", name, profiles)
        return {}
    profile = profiles[name]
    found: dict[str, Any] = {
        argument: profile[key]
        for key, (argument, variables) in SETTINGS.items()
        if key in profile and not any(os.environ.get(variable) for variable in variables)
    }
    if any(os.environ.get(variable) for variable in FOUND_BY_OBSTORE):
        return found
    if "aws_access_key_id" in profile and "aws_secret_access_key" in profile:
        found["access_key_id"] = profile["aws_access_key_id"]
        found["secret_access_key"] = profile["aws_secret_access_key"]
        if "aws_session_token" in profile:
            found["session_token"] = profile["aws_session_token"]
    elif asked := [key for key in ASKS if key in profile]:
        found["credential_provider"] = _asking(name, asked[0])
    return found


def _profiles() -> dict[str, dict[str, str]]:
    """The settings of all profiles in both files."""
    found: dict[str, dict[str, str]] = {}
    home = Path("~/.aws").expanduser()
    for variable, default in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
        path = Path(os.environ.get(variable) or home / default).expanduser()
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            # The error of a parser quotes the line, which may be a secret.
            reason = (
                error.strerror if isinstance(error, OSError) else f"line {getattr(error, 'lineno', 'unknown')} is invalid"
            )
            raise UsageError(f"{path} cannot be read: {reason}. Correct it, or set AWS_ACCESS_KEY_ID instead.") from None
        for section in parser.sections():
            kind, _, name = section.rpartition("profile ")
            if not kind.strip() and not section.startswith(("sso-session ", "services ")):
                found.setdefault(name.strip(), {}).update(parser[section])
    return found


def _asking(name: str, setting: str) -> Any:
    if importlib.util.find_spec("boto3") is None:
        raise UsageError(
            f"the AWS profile {name!r} uses {setting}, for which boto3 is needed. Install it with 'pip install boto3', or "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider(boto3.Session(profile_name=name))
