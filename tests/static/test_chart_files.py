"""The chart is of one piece with the agent, its image and its README; known from the files, without Helm."""

import re

import pytest
import yaml

from agent import __version__
from tools.helm.readme import CHART, UncommentedValue, readme, values_table

REPOSITORY = CHART.parents[1]
DOCKERFILE = (REPOSITORY / "agent/Dockerfile").read_text()
TEMPLATES = "\n".join(path.read_text() for path in sorted((CHART / "templates").rglob("*.*")))


def test_the_chart_installs_the_agent_of_this_repository() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert about["appVersion"] == __version__


def test_readme_is_up_to_date() -> None:
    assert (CHART / "README.md").read_text() == readme(CHART), "run `make generated` and commit README.md"


def test_every_value_is_in_the_readme_with_a_comment() -> None:
    with pytest.raises(UncommentedValue, match=r"a\.c, b"):
        values_table("a:\n  # -- Something\n  d: 1\n  c: 2\nb: 3\n")

    assert len(values_table((CHART / "values.yaml").read_text())) > 70


def test_a_comment_may_go_on_in_the_next_lines_and_cover_a_whole_mapping() -> None:
    rows = values_table("# -- One | two\n# three\na:\n  b: {}\n# no row's comment\nc:\n  # -- Four\n  d: [1]\n")

    assert [tuple(row) for row in rows] == [("a", '`{"b": {}}`', r"One \| two three"), ("c.d", "`[1]`", "Four")]


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", (CHART / "README.md").read_text())

    assert links
    assert [link for link in links if not (CHART / link).exists()] == []


def test_user_port_and_interpreter_are_those_of_the_image() -> None:
    def in_image(pattern: str) -> str:
        found = re.search(pattern, DOCKERFILE, re.MULTILINE)
        assert found, pattern
        return found[1]

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    user = in_image(r"^USER (\d+):\1$")
    assert {f"runAsUser: {user}", f"runAsGroup: {user}", f"fsGroup: {user}"} <= set(TEMPLATES.splitlines())
    assert f"os.chown('/spool', {user}, {user})" in TEMPLATES
    assert str(values["metrics"]["port"]) == in_image(r"^EXPOSE (\d+)$")
    interpreter = in_image(r'^ENTRYPOINT \["([^"]+)", "-m", "agent"\]$')
    assert f"command: [{interpreter}, -c" in TEMPLATES
