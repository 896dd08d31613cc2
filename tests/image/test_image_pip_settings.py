"""The wheels of the image come by way of this machine's pip configuration, whichever that is."""

import pytest

from tools.image.build import WHEELS, BuildFailed, download_wheels


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Writes a pip configuration that replaces this machine's."""
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)

    def configure(*lines: str) -> None:
        path = tmp_path / "pip.conf"
        path.write_text("\n".join(["[global]", *lines]))
        monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
        monkeypatch.setenv("HOME", str(tmp_path))

    return configure


def test_wheels_come_from_where_pips_configuration_says(configure, tmp_path):
    configure("no-index = true", f"find-links = {WHEELS}")

    download_wheels("", tmp_path / "wheels")

    assert {path.name for path in (tmp_path / "wheels").iterdir()} == {path.name for path in WHEELS.iterdir()}


def test_where_they_are_not_the_message_is_pips_own(configure, tmp_path, capfd):
    configure("no-index = true", f"find-links = {tmp_path}")

    with pytest.raises(BuildFailed, match="downloading wheels failed"):
        download_wheels("", tmp_path / "wheels")

    assert "psutil==7" in capfd.readouterr().err


def test_what_was_downloaded_is_not_downloaded_again_until_the_requirements_change(configure, tmp_path):
    configure("no-index = true", f"find-links = {WHEELS}")
    download_wheels("", tmp_path / "wheels")
    configure("no-index = true")

    download_wheels("", tmp_path / "wheels")

    with pytest.raises(BuildFailed):
        download_wheels("no-such-collector==1", tmp_path / "wheels")
