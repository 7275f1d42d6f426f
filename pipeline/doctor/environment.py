"""Checks of the Python environment: versions, packages of the same names as ours, devices, optional extras."""

import importlib
import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pipeline.doctor.check import Check, fail, guarded, ok, warn
from pipeline.version import __version__

DISTRIBUTION = "review-pipeline"
PYTHON = (3, 11)
REQUIRED = (
    "pyarrow",
    "deltalake",
    "torch",
    "torchdata",
    "safetensors",
    "numpy",
    "regex",
    "filelock",
    "jinja2",
    "matplotlib",
    "rich",
)
EXTRAS = {"tensorboard": ("tensorboard", "'train --tensorboard'"), "obstore": ("s3", "URIs of object stores")}
"""Modules, each with the extra that installs it, and who needs it."""
OWN_PACKAGES = ("schemas", "pipeline", "jobs")
REINSTALL = f"Install {DISTRIBUTION} in a fresh environment."


def environment_checks() -> Iterator[Check]:
    """All checks of the environment."""
    yield from guarded("python", _python)
    yield from guarded("package", _package)
    for name in REQUIRED:
        yield from guarded(name, lambda name=name: [_library(name)])  # type: ignore[misc]
    yield from guarded("kernels", _kernels)
    yield from guarded("devices", _devices)
    yield from guarded("onednn", _onednn)
    for name, (extra, use) in EXTRAS.items():
        yield _extra(name, extra, use)


def _python() -> Iterator[Check]:
    found = sys.version.split()[0]
    if sys.version_info < PYTHON:
        yield fail("python", found, f"Use Python {PYTHON[0]}.{PYTHON[1]} or newer.")
    else:
        yield ok("python", f"{found} in {sys.prefix}")


def _package() -> Iterator[Check]:
    """Our three packages must come from one place: their names are plain, so others may have them too."""
    home = Path(__file__).resolve().parents[2]
    for name in OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations or ())] if spec else []
        if places != [home / name]:
            found = ", ".join(map(str, places)) or "nowhere"
            yield fail("package", f"{name!r} would be imported from {found}, not from {home}", REINSTALL)
            return
    yield ok("package", f"{DISTRIBUTION} {__version__} in {home}")


def _library(name: str) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return fail(name, "not installed", REINSTALL)
    importlib.import_module(name)
    if (wanted := _requirement(name)) and not _admits(wanted, version):
        return warn(name, f"{version}; tested with {wanted}", f"pip install '{name}{wanted}'")
    return ok(name, version)


def _requirement(name: str) -> str:
    """The range of versions that our distribution asks for; "" when it is not installed as one."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return ""
    for requirement in requirements:
        if (match := re.match(r"([A-Za-z0-9._-]+)\s*([^;]*)", requirement)) and match[1] == name:
            return match[2].strip(" ()")
    return ""


def _admits(wanted: str, version: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def _kernels() -> Iterator[Check]:
    from pipeline.models.layers import scan_kernel
    from pipeline.text import columns, kernels
    from pipeline.training import region_tables

    missing = []
    if not kernels.COMPILED:
        missing.append("NumPy is used instead, and tokenizing takes two to three times as long")
    if not columns.COMPILED:
        missing.append("hashlib, NumPy and Arrow hash, check and look up the rows of ingest, which is slower")
    if not scan_kernel.COMPILED:
        missing.append("torch computes the scans of architectures such as 'mingru', which is slower")
    if not region_tables.COMPILED:
        missing.append("NumPy learns region features, and takes many times as long")
    if not missing:
        yield ok("kernels", "compiled")
    else:
        found = f"not compiled at installation: {'; '.join(missing)}"
        yield warn("kernels", found, f"Install a C compiler and Python's headers, then reinstall {DISTRIBUTION}.")


def _devices() -> Iterator[Check]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    detail = f"cpu: {threads} threads on {cores} cores"
    if threads > cores:
        yield warn("devices", f"{detail}: they will compete for the cores", f"Set OMP_NUM_THREADS={cores}.")
    else:
        yield ok("devices", detail)
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(number)
        yield ok("devices", f"cuda:{number}: {properties.name}, {properties.total_memory >> 30} GiB")


def _onednn() -> Iterator[Check]:
    from pipeline.scoring.onednn import refusal

    reason = refusal()
    if reason is None:
        yield ok("onednn", "scores recurrent models on the CPU; checked against torch's own")
    else:
        yield ok("onednn", f"not used: {reason}. Scoring on the CPU uses torch's public matrix product, which is slower")


def _extra(name: str, extra: str, use: str) -> Check:
    try:
        importlib.import_module(name)
        return ok(name, metadata.version(name))
    except ModuleNotFoundError:
        return ok(name, f"not installed; only needed for {use}: pip install '{DISTRIBUTION}[{extra}]'")
    except Exception as error:
        return warn(name, f"cannot be imported: {error}", f"pip install --force-reinstall '{DISTRIBUTION}[{extra}]'")
