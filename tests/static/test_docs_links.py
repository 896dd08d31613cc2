"""The documents point only at what exists: relative links, anchors, and files named in backticks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/**/*.md"),
        *(path for path in REPOSITORY.glob("*/README.md") if path.parent.name not in ("node_modules", ".venv")),
        *REPOSITORY.glob("local/*/README.md"),
    ]
)

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_NAMED = re.compile(r"`([A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+)/?`")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"[a-z]+:")


def anchor(heading: str) -> str:
    """The anchor GitHub gives a heading."""
    text = re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", ""))
    return text.replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return {anchor(line.lstrip("#")) for line in document.read_text().splitlines() if line.startswith("#")}


def broken_links(document: Path, text: str) -> Iterator[str]:
    for target in _LINK.findall(_FENCE.sub("", text)):
        if _ELSEWHERE.match(target):
            continue
        path, _, fragment = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        if not found.exists():
            yield f"{target}: no such file"
        elif fragment and fragment not in anchors(found):
            yield f"{target}: no such heading"


def unknown_paths(document: Path, text: str) -> Iterator[str]:
    """Paths in backticks whose first part is a folder of the repository, or that look like a Python file."""
    for named in _NAMED.findall(text):
        folder = named.split("/")[0]
        is_ours = (folder != ".local" and (REPOSITORY / folder).is_dir()) or named.endswith(".py")
        here, above = REPOSITORY / named, document.parent / named
        if is_ours and not here.exists() and not above.exists():
            yield named


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert list(broken_links(document, document.read_text())) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_file_named_in_backticks_exists(document: Path) -> None:
    assert list(unknown_paths(document, document.read_text())) == []


def test_images_of_the_readme_exist() -> None:
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (REPOSITORY / "README.md").read_text())

    assert images
    assert [image for image in images if not (REPOSITORY / image).is_file()] == []


def test_broken_links_and_paths_are_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# One: `two`\n[a](gone.md) [b](#one-two) [c](#three) `agent/gone.py` `agent/clock.py` [d](https://x)\n"
    )

    text = document.read_text()

    assert list(broken_links(document, text)) == ["gone.md: no such file", "#three: no such heading"]
    assert list(unknown_paths(document, text)) == ["agent/gone.py"]


def test_every_setting_is_documented() -> None:
    from agent.settings import KNOWN

    documented = (REPOSITORY / "docs/settings.md").read_text()
    of_function_app = set(
        re.findall(r'"([A-Z][A-Za-z_]{5,})"', (REPOSITORY / "functions/bindings/settings.py").read_text())
    )

    missing = [name for name in sorted(KNOWN | of_function_app) if f"`{name}`" not in documented]

    assert missing == []


def test_every_reject_reason_is_documented() -> None:
    from telemetry.errors import RejectReason

    documented = (REPOSITORY / "docs/delivery-guarantees.md").read_text()

    assert [reason for reason in RejectReason if f"| `{reason}` |" not in documented] == []
