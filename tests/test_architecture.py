"""The house rules, as tests: who imports whom, how long things are, what must not be written."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("audiolm", "detectors", "evaluation", "reports")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
OTHERS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "recipes").rglob("*.py")])
LONGEST_FILE, LONGEST_FUNCTION = 400, 50
DISTRIBUTION = "audiolm-audit"
PICKLERS = {"pickle", "cPickle", "dill", "joblib", "shelve"}
STANDARD_LIBRARY = sys.stdlib_module_names

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="runs in a checkout only")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _may_print(path: Path) -> bool:
    return path.name in ("cli.py", "__main__.py") or path.parent.name == "cli"


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    """Calls of ``name``, written plainly or as the last part of a dotted name (``torch.load`` for ``load``)."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def test_import_contracts_hold() -> None:
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_import_contracts_see_a_breach(tmp_path: Path) -> None:
    """The same linter with a contract that the tree does break must say so, else the test above shows nothing."""
    config = tmp_path / "contracts.ini"
    config.write_text(
        "[importlinter]\nroot_packages =\n    audiolm\n    evaluation\n"
        "[importlinter:contract:1]\nname = wrong on purpose\ntype = forbidden\n"
        "source_modules =\n    evaluation\nforbidden_modules =\n    audiolm.audio\n"
    )
    script = (
        "import sys; from importlinter.cli import lint_imports;"
        f" sys.exit(lint_imports(config_filename={str(config)!r}, no_cache=True))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "wrong on purpose" in done.stdout


def test_files_are_short() -> None:
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES + OTHERS}
    long = {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}
    assert not long, f"longer than {LONGEST_FILE} lines, split by idea: {long}"


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its decorators and its docstring."""
    first = function.body[0]
    docstring = 0
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def test_functions_are_short() -> None:
    long = {
        f"{_name(path)}:{node.name}": _length(node)
        for path in SOURCES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _length(node) > LONGEST_FUNCTION
    }
    assert not long, f"longer than {LONGEST_FUNCTION} lines: {long}"


def _faults(tree: ast.Module, may_print: bool) -> list[str]:
    """What the house does not write, with line numbers."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append(f"{node.lineno}: assert checks nothing under -O; raise ValueError")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{node.lineno}: bare except; name the exception")
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if {name.split(".")[0] for name in names} & PICKLERS:
                found.append(f"{node.lineno}: pickle runs code when read; use safetensors, JSON or Parquet")
            if isinstance(node, ast.ImportFrom) and node.level:
                found.append(f"{node.lineno}: relative import; imports are absolute")
    for call in _calls(tree, "torch.load"):
        if not any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in call.keywords):
            found.append(f"{call.lineno}: torch.load without weights_only=True runs code")
    if not may_print:
        found += [f"{call.lineno}: print outside the command line; use logging" for call in _calls(tree, "print")]
    return found


def test_nothing_forbidden_is_written() -> None:
    found = [f"{_name(path)}:{fault}" for path in SOURCES for fault in _faults(_tree(path), _may_print(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    ["assert x", "try:\n    x()\nexcept:\n    y()", "import pickle", "from joblib import load", "from . import x",
     "torch.load(path)", "torch.load(path, weights_only=False)", "print(x)"],
)  # fmt: skip
def test_each_forbidden_thing_is_seen(line: str) -> None:
    assert len(_faults(ast.parse(line), may_print=False)) == 1


def test_annotations_are_lazy() -> None:
    """A file with definitions starts with the future import, so that annotations cost nothing on Python 3.10."""
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.AnnAssign)
    late = [
        _name(path)
        for path in SOURCES
        if any(isinstance(node, defining) for node in _tree(path).body)
        and "from __future__ import annotations" not in path.read_text(encoding="utf-8")
    ]
    assert not late, f"begin with from __future__ import annotations: {late}"


def test_no_module_hides_the_standard_library() -> None:
    taken = [_name(path) for path in SOURCES if path.parent.parent == ROOT and path.stem in STANDARD_LIBRARY]
    top = [name for name in PACKAGES if name in STANDARD_LIBRARY]
    assert not taken + top, "python run from that folder would import ours instead"


def test_tests_stay_flat() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py")), "a package below tests/ can replace one of ours"
    for path in (ROOT / "tests").glob("test_*.py"):
        subject = path.stem.split("_")[1]
        allowed = {*PACKAGES, "architecture", "wheel", "prompts"}
        assert subject in allowed, f"{path.name}: say which package it tests: test_<package>_<topic>.py"


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_typed_and_light(name: str) -> None:
    assert (ROOT / name / "py.typed").is_file()
    assert (ROOT / name / "__init__.py").is_file()
    script = f"import sys, {name}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"import {name} must not import torch\n{done.stderr}"


@pytest.mark.parametrize("name", PACKAGES)
def test_every_folder_is_a_package(name: str) -> None:
    folders = {path.parent for path in SOURCES if path.is_relative_to(ROOT / name)}
    missing = [_name(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()]
    assert not missing, "a folder of modules without __init__.py is not found by discovery"


@pytest.mark.parametrize("name", PACKAGES)
def test_every_module_imports(name: str) -> None:
    """Import of a module does no work: no plug-in may fail where an extra is missing."""
    package = importlib.import_module(name)
    modules = [module.name for module in pkgutil.walk_packages(package.__path__, f"{name}.")]
    assert modules
    for module in modules:
        if not module.endswith("__main__"):
            importlib.import_module(module)


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_ours(name: str) -> None:
    """Another distribution with a package of the same name overwrites ours without a word."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{DISTRIBUTION} is not installed in this environment; make test installs it")
    claimed = metadata.packages_distributions().get(name, [])
    assert set(claimed) <= {DISTRIBUTION}, f"{name} is also claimed by {claimed}"
    origin = Path(str(importlib.import_module(name).__file__)).resolve()
    direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    if direct.get("dir_info", {}).get("editable"):
        assert origin.is_relative_to(Path(unquote(urlparse(direct["url"]).path)).resolve())
    else:
        files = {Path(str(distribution.locate_file(file))).resolve() for file in distribution.files or ()}
        assert origin in files
