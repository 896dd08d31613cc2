"""Installs a distribution with collectors, as pip would, into a directory: for PYTHONPATH or sys.path."""

from pathlib import Path
from textwrap import dedent


def install(directory: Path, name: str, source: str, *collectors: str) -> None:
    """Installs `name` with one module of that name; each collector is 'name' or 'name = module:object'."""
    entries = "\n".join(each if "=" in each else f"{each} = {name}:make_{each}" for each in collectors)
    metadata = directory / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[devops_monitor.collectors]\n{entries}\n")
    (directory / f"{name}.py").write_text(dedent(source))
