"""Which modules a program can import, found by reading its sources. For `gather.py`, in the image's build stage.

Standard library only: it runs where nothing is installed yet.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LEFT_OUT = frozenset(
    {
        "_pyrepl",  # the prompt
        "curses",
        "doctest",  # imported by self-tests at the end of modules
        "ensurepip",  # brings pip
        "idlelib",
        "lib2to3",
        "pdb",
        "pydoc",  # help(), and a web server
        "pydoc_data",
        "readline",  # for prompts, and licensed under the GPL
        "rlcompleter",
        "test",
        "tkinter",
        "turtle",
        "turtledemo",
        "unittest",
        "venv",
    }
)
"""Modules of the standard library that are left out although something names them: tools for people and for tests."""

NAMED_NOWHERE = frozenset(
    {
        "__future__",
        "_collections_abc",
        "_strptime",  # by the C code of time and datetime
        "_threading_local",
        "encodings",  # by the interpreter's start
        "importlib",
        "site",
        "sysconfig",
        "zipimport",
    }
)
"""Modules of the standard library that the interpreter itself imports, without a line in any source."""


def imports_of(source: str, package: str) -> Iterator[str]:
    """Yields the full names that a module of the given package imports, wherever the statement stands.

    `from a import b` yields both `a` and `a.b`: whether b is a module cannot be seen. What only runs when the module
    is started as a program is left out.
    """
    todo: list[ast.AST] = [ast.parse(source)]
    while todo:
        node = todo.pop()
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = _absolute(node.module or "", node.level, package)
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                todo.extend(node.orelse)
            case _:
                todo.extend(ast.iter_child_nodes(node))


def modules_below(directory: Path, package: str = "") -> dict[str, Path]:
    """Gives the source file of every module in a directory and its packages, by full name."""
    found: dict[str, Path] = {}
    for path in sorted(directory.rglob("*.py")):
        parts = path.relative_to(directory).with_suffix("").parts
        name = ".".join((package, *parts) if package else parts)
        found[name.removesuffix(".__init__")] = path
    return found


def reachable(start: Iterable[str], modules: dict[str, Path]) -> set[str]:
    """Gives the names among `modules` that can be reached from some of them by imports; packages come with a module."""
    found: set[str] = set()
    todo = [part for name in start for part in _with_parents(name) if part in modules]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        path = modules[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in imports_of(path.read_text(encoding="utf-8", errors="replace"), package):
            todo.extend(part for part in _with_parents(imported) if part in modules)
    return found


def needed_of_standard_library(programs: Iterable[Path], library: Path) -> set[str]:
    """Gives the names of the top-level modules and packages that programs need, directly or through one another.

    A package is taken whole. `programs` are directories with Python sources.
    """
    sources = {name: path for name, path in modules_below(library).items() if _top(name) in sys.stdlib_module_names}
    needed = set(NAMED_NOWHERE)
    for directory in programs:
        for name, path in modules_below(directory).items():
            needed |= _tops_imported(path, name)
    done: set[str] = set()
    while todo := needed - done - LEFT_OUT:
        done |= todo
        for name, path in sources.items():
            if _top(name) in todo:
                needed |= _tops_imported(path, name)
    return (needed & sys.stdlib_module_names) - LEFT_OUT


def _tops_imported(path: Path, name: str) -> set[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        return {_top(each) for each in imports_of(path.read_text(encoding="utf-8", errors="replace"), package)}
    except SyntaxError:  # templates, and sources for other versions, are never imported
        return set()


def _absolute(module: str, level: int, package: str) -> str:
    if level == 0:
        return module
    parents = package.split(".")[: len(package.split(".")) - (level - 1)]
    return ".".join([*parents, module] if module else parents)


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: length + 1]) for length in range(len(parts))]


def _top(name: str) -> str:
    return name.partition(".")[0]
