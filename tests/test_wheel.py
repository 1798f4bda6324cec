"""What users get: the wheel, unpacked into an empty folder and used from another empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("audiolm", "detectors", "evaluation", "reports")
LARGEST_BYTES = 80_000_000
DATA_SUFFIXES = (".safetensors", ".json", ".j2", ".css", ".js", ".toml", ".csv", ".flac", ".md", ".typed", ".txt")

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="runs in a checkout only")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("audiolm_audit-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files in a folder of their own, as ``pip install --no-deps --target`` lays them out."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    done = subprocess.run(
        [*command, "--target", str(target), str(wheel)], capture_output=True, text=True, check=False, cwd=target
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def _python(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in ``folder`` with the wheel's files first on its path; the checkout is nowhere on it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-P", *arguments] if sys.version_info >= (3, 11) else [sys.executable, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert top == {*PACKAGES, "audiolm_audit-0.1.0.dist-info"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name or name.endswith((".pyc", ".tmp"))]
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert {"LICENSE", "NOTICE"} <= {name.rsplit("/", 1)[-1] for name in names if ".dist-info/licenses/" in name}
    assert wheel.stat().st_size < LARGEST_BYTES


def test_wheel_holds_every_data_file(wheel: Path) -> None:
    """Weights, templates, policy and prompts: a file that only the checkout has would be missed by users alone."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (*DATA_SUFFIXES, ".py") and "__pycache__" not in path.parts
    }
    assert wanted <= names, sorted(wanted - names)
    assert "reports/policy.toml" in names
    assert "evaluation/prompts/manifest.csv" in names
    for folder, suffix in {
        "audiolm/pretrained/": ".safetensors",
        "detectors/pretrained/": ".safetensors",
        "evaluation/speaker/pretrained/": ".safetensors",
        "reports/templates/": ".j2",
        "evaluation/prompts/": ".flac",
    }.items():
        assert [name for name in names if name.startswith(folder) and name.endswith(suffix)], f"no {suffix} in {folder}"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_from_an_empty_folder(package: str, installed: Path, tmp_path: Path) -> None:
    done = _python(installed, tmp_path, "-c", f"import {package}; print({package}.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_console_command_answers_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    scripts = installed / "bin" / "audiolm-audit"
    assert scripts.is_file()
    done = _python(installed, tmp_path, str(scripts), "--help")
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout
    assert "detect" in done.stdout
    wrong = _python(installed, tmp_path, str(scripts), "audi")
    assert wrong.returncode == 2
    assert "'audit'" in wrong.stderr


def test_installed_data_is_found(installed: Path, tmp_path: Path) -> None:
    """The verb ``data`` without a source reads the shipped prompts through the package's own resources."""
    code = (
        "from evaluation.prompts_source import embedded_manifest;"
        "from evaluation.manifest import read_utterances;"
        "rows = read_utterances(embedded_manifest());"
        "print(len(rows), sum(bool(row.problem) for row in rows), embedded_manifest())"
    )
    done = _python(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    count, problems, path = done.stdout.split(maxsplit=2)
    assert (int(count), int(problems)) == (16, 0)
    assert Path(path.strip()).is_relative_to(installed)
