"""Each installed package has the version in `constraints.txt`, which agrees with the requirements files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
# `python -m venv` puts these in by itself, in the versions that this Python comes with.
FROM_PYTHON = {"pip", "setuptools"}
CONSTRAINTS = ["constraints.txt", "constraints-tpu.txt"]
# A Python that installs nothing. `calls` gets the words for pip, and `used` the constraints that they name. CHOSEN is 0
# where a build of torch was installed beforehand, else 1.
PYTHON = """#!/usr/bin/env bash
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip install "*) echo "${@:5}" >>calls && cp "${@: -1}" used ;;
    *torch*) exit "$CHOSEN" ;;
esac
"""


def lines_of(name: str) -> list[Requirement]:
    """The packages that a file names, with those of the files that it includes (`-r`)."""
    found = []
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        text = re.sub(r"(^|\s+)#.*", "", line).strip()
        if text.startswith("-r "):
            found += lines_of(text.removeprefix("-r "))
        elif text:
            found.append(Requirement(text))
    return found


def pins_of(name: str, **environment: str) -> dict[str, Version]:
    """Names and versions that a file of constraints has for this Python and system, or for another `environment`."""
    pins = [pin for pin in lines_of(name) if not pin.marker or pin.marker.evaluate(default_environment() | environment)]
    names = [canonicalize_name(pin.name) for pin in pins]
    assert len(names) == len(set(names)), f"{name} has two versions of a package for one Python"
    return {name: Version(str(pin.specifier).removeprefix("==")) for name, pin in zip(names, pins, strict=True)}


def strays(installed: dict[str, Version], pins: dict[str, Version]) -> list[str]:
    """Each installed package that is not pinned at its version. A build (`+cpu`) counts as its version.

    CUDA packages of a build of torch that is not PyPI's are none.
    """
    chosen_torch = installed["torch"].local is not None
    return [
        f"{name} {version}: {pins.get(name, 'not')} pinned"
        for name, version in sorted(installed.items())
        if pins.get(name) != Version(version.public)
        and not (name not in pins and name in FROM_PYTHON)
        and not (chosen_torch and re.match("cuda|nvidia|triton", name))
    ]


@pytest.mark.parametrize(
    ("environment", "constraints"),
    [(None, "constraints.txt"), pytest.param(".venv-tpu", "constraints-tpu.txt", marks=pytest.mark.tpu)],
)
def test_every_installed_package_is_pinned(environment: str | None, constraints: str):
    # Not all of `sys.path`: setuptools, once imported, adds the packages that it carries inside itself.
    folders = [sysconfig.get_path("purelib")]
    if environment:
        folders = [str(folder) for folder in (ROOT / environment).glob("lib/python*/site-packages")]
    packages = distributions(path=folders)
    installed = {canonicalize_name(package.name): Version(package.version) for package in packages}
    assert not strays(installed, pins_of(constraints)), (
        "If a requirements file has changed, run scripts/pin_requirements.sh. If these packages are left from before, "
        "delete the environment; scripts/setup.sh makes it anew."
    )


def test_what_is_a_stray():
    pins = {"torch": Version("2.13.0"), "numpy": Version("2.4.6"), "triton": Version("3.7.1")}
    installed = {"torch": Version("2.13.0"), "numpy": Version("2.4.6"), "pip": Version("23.2.1")}
    assert not strays(installed, pins)
    assert strays(installed | {"numpy": Version("2.4.5")}, pins) == ["numpy 2.4.5: 2.4.6 pinned"]
    assert strays(installed | {"psutil": Version("7.2.2")}, pins) == ["psutil 7.2.2: not pinned"]
    assert strays(installed | {"triton": Version("3.6.0")}, pins) == ["triton 3.6.0: 3.7.1 pinned"]
    other_build = {"torch": Version("2.13.0+cu126"), "triton": Version("3.6.0"), "nvidia-cublas-cu12": Version("12.6")}
    assert not strays(installed | other_build, pins)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    ("requirements", "constraints"),
    [
        ("requirements.txt", "constraints.txt"),
        ("requirements-dev.txt", "constraints.txt"),
        ("requirements-tpu.txt", "constraints-tpu.txt"),
    ],
)
def test_requirements_and_constraints_agree(requirements: str, constraints: str, python: str):
    linux = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    pins = pins_of(constraints, python_version=python, python_full_version=f"{python}.0", **linux)
    for line in lines_of(requirements):
        assert pins[canonicalize_name(line.name)] in line.specifier, f"{requirements}: {line}"


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_are_names_and_versions(name: str):
    """No build of a version, no hash, and no host or path of the machine where the file was written."""
    pins = lines_of(name)
    known = {pin.name for pin in pins} | {f"-r {file.name}" for file in ROOT.glob("requirements*.txt")}
    header, *lines = (ROOT / name).read_text(encoding="utf-8").split("bash scripts/pin_requirements.sh\n")
    assert header.count("\n") == 1 and len(lines) == 1
    for line in lines[0].splitlines():
        parts = re.fullmatch(r"[\w-]+==[\w.]+( ; [\w .<>=!'()]+)? *# via (?P<via>.+)", line)
        assert parts and known.issuperset(parts["via"].split(", ")), line


@pytest.fixture
def set_up(tmp_path: Path):
    """Runs `scripts/setup.sh` in a copy, with a Python that installs nothing. Gives the words for pip, if any."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "requirements.txt", "requirements-tpu.txt", *CONSTRAINTS):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "bin/python3.11"
    python.parent.mkdir()
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    calls = tmp_path / "calls"

    def run(*words: str, chosen: bool = False) -> str:
        calls.write_text("", encoding="utf-8")
        environment = os.environ | {"PATH": f"{python.parent}:{os.environ['PATH']}", "CHOSEN": str(int(not chosen))}
        subprocess.run(["bash", "scripts/setup.sh", *words], cwd=tmp_path, env=environment, check=True)
        return calls.read_text(encoding="utf-8").strip()

    return run


def test_setup_installs_the_pinned_versions(set_up, tmp_path: Path):
    assert set_up().endswith("-r requirements.txt -c constraints.txt")
    assert set_up() == ""
    with (tmp_path / "constraints.txt").open("a", encoding="utf-8") as file:
        file.write("another-package==1.0\n")
    assert set_up().endswith("-r requirements.txt -c constraints.txt")
    assert set_up("requirements-tpu.txt").endswith("-r requirements-tpu.txt -c constraints-tpu.txt")


def test_setup_leaves_a_chosen_build_of_torch_its_own_cuda_packages(set_up, tmp_path: Path):
    set_up(chosen=True)
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    used = (tmp_path / "used").read_text(encoding="utf-8").splitlines()
    left_out = {line.split("==")[0] for line in pinned if line not in used}
    assert {"cuda-bindings", "cuda-toolkit", "nvidia-nvjitlink", "nvidia-nccl-cu13", "triton"} <= left_out
    assert all(re.match("cuda-|nvidia-|triton$", name) for name in left_out)
