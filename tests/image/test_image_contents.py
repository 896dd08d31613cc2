"""What is in the image, and what is not."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.image_container import PYTHON
from tools.image.build import SBOM, SITE_PACKAGES

REPOSITORY = Path(__file__).parents[2]
MIB = 1024 * 1024
PROGRAMS = {
    *(
        "sh",
        "bash",
        "dash",
        "ash",
        "busybox",
        "perl",
        "env",
        "cat",
        "ls",
        "mount",
        "su",
        "wget",
        "curl",
        "ldd",
        "ldconfig",
    ),
    *("apt", "apt-get", "dpkg", "pip", "pip3", "pip3.13"),
}
FAILS_WITHOUT_AIOHTTP = {"azure.identity.aio._internal.token_binding_transport_aiohttp"}
IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
wanted = json.loads(sys.argv[1])
failed = {}
def visit(paths, prefix):
    for module in pkgutil.iter_modules(paths, prefix):
        name = module.name
        if name.endswith("__main__") or wanted and name.split(".")[0] not in wanted:  # a __main__ would start
            continue
        try:
            imported = importlib.import_module(name)
        except BaseException as error:
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        if module.ispkg:
            visit(imported.__path__, name + ".")
packages = [path for path in sys.path if path.endswith("site-packages")]
visit(packages, "")
import azure
visit(azure.__path__, "azure.")
print(json.dumps([[module.name for module in pkgutil.iter_modules(packages)], failed]))
"""


def packages(idle) -> dict[str, str]:
    """Every installed package of the image and its version, as its own interpreter sees them."""
    program = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}))"
    )
    return json.loads(idle.python(program))


def of_another_package(problem: str) -> bool:
    missing = re.search(r"No module named '(\w+)", problem)
    return missing is not None and missing[1] not in sys.stdlib_module_names


def test_the_agents_modules_are_there_and_of_telemetry_only_what_it_imports(image, idle):
    telemetry = {Path(name).stem for name in image.files if re.fullmatch(rf"{SITE_PACKAGES}/telemetry/[^/]+\.py", name)}
    agent = {name for name in image.files if re.fullmatch(rf"{SITE_PACKAGES}/agent/.*\.py", name)}

    assert agent == {f"{SITE_PACKAGES}/{path.relative_to(REPOSITORY)}" for path in (REPOSITORY / "agent").rglob("*.py")}
    assert {"__init__", "catalogue", "envelope", "errors"} <= telemetry
    assert telemetry.isdisjoint({"validation", "careful", "rules", "tables", "layout"})


def test_no_shell_no_package_manager_and_nothing_else_to_run_is_there(image):
    executables = {
        name
        for name, file in image.files.items()
        if file.isfile() and file.mode & 0o111 and not re.search(r"\.so(\.|$)", name)
    }

    assert executables == {PYTHON.lstrip("/")}
    assert {Path(name).name for name, file in image.files.items() if not file.isdir()}.isdisjoint(PROGRAMS)


def test_no_file_belongs_to_the_agent_or_can_be_changed_by_it(image):
    writable = [name for name, file in image.files.items() if not file.issym() and file.mode & 0o022]
    owned = [name for name, file in image.files.items() if (file.uid, file.gid) != (0, 0)]
    privileged = [name for name, file in image.files.items() if file.mode & (stat.S_ISUID | stat.S_ISGID)]

    assert (writable, privileged) == ([], [])
    assert owned == ["var/lib/devops-monitor"]


def test_no_tests_sources_of_packages_or_stubs_are_there(image):
    useless = [
        name
        for name in image.files
        if re.search(r"/tests?/|\.(pyi|pyx|c|h)$", name)
        or (name.endswith(".py") and not re.match(rf"{SITE_PACKAGES}/(agent|telemetry)/", name))
    ]

    assert useless == []


def test_everything_is_compiled(image):
    sources = {name for name in image.files if name.endswith(".py")}
    compiled = {
        re.sub(r"__pycache__/(.+)\.cpython-313\.pyc", r"\1.py", name) for name in image.files if "__pycache__" in name
    }

    assert sources
    assert sources - compiled == {name for name in sources if image.files[name].size == 0} - compiled


def test_the_configuration_is_that_of_an_unprivileged_service(image):
    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"] == [PYTHON, "-m", "agent"]
    assert not image.config.get("Cmd")
    assert list(image.config["ExposedPorts"]) == ["9464/tcp"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == "devops-monitor agent"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", labels["org.opencontainers.image.version"])
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.licenses"] == "MIT"


def test_nothing_of_this_machines_pip_configuration_is_in_the_image(image):
    names = [
        name for name in image.files if re.search(r"pip\.conf|\.netrc|\.pypirc|/pip/|direct_url\.json|\.whl$", name)
    ]
    settings = [each for each in image.config["Env"] if re.match(r"PIP_|HTTPS?_PROXY|https?_proxy", each)]

    assert (names, settings) == ([], [])


def test_the_bill_of_materials_lists_every_package_with_its_version(idle, image):
    listed = json.loads(SBOM.read_text())["components"]
    python = {each["name"].lower(): each["version"] for each in listed if each.get("purl", "").startswith("pkg:pypi/")}
    debian = {each["name"] for each in listed if each.get("purl", "").startswith("pkg:deb/")}
    interpreter = {each["version"] for each in listed if each.get("purl", "").startswith("pkg:generic/python@")}

    assert python == packages(idle)
    assert {"psutil", "azure-eventhub", "azure-identity", "requests"} <= set(python)
    assert "aiohttp" not in python  # azure-identity without asyncio does without it
    assert {"libc6", "libssl3", "ca-certificates"} <= debian
    assert interpreter == {idle.python("import platform; print(platform.python_version())").strip()}


def test_versions_are_the_pinned_ones(idle):
    pins = dict(line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line)

    assert {name: version for name, version in packages(idle).items() if pins[name] != version} == {}


def test_every_module_that_can_be_imported_where_the_whole_library_is_can_be_imported_here(idle):
    modules, failed = json.loads(idle.python(IMPORT_EVERYTHING, "[]"))
    everywhere = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, json.dumps(modules)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    # Elsewhere fails what asks for a package the agent does not want, or for another operating system.
    _, failed_everywhere = json.loads(everywhere.stdout)
    assert {"agent", "psutil", "requests", "cryptography", "msal"} <= set(modules)
    assert {
        name: problem
        for name, problem in failed.items()
        if name not in failed_everywhere and name not in FAILS_WITHOUT_AIOHTTP and not of_another_package(problem)
    } == {}


@pytest.mark.parametrize(
    "module", ["azure.eventhub.aio", "azure.identity.aio", "psutil", "ssl", "asyncio", "importlib.metadata"]
)
def test_what_both_ways_to_publish_need_can_be_imported(idle, module):
    ended = idle.execute(PYTHON, "-c", f"import {module}")

    assert ended.returncode == 0, ended.stderr


def test_the_image_is_small(image):
    assert image.bytes < 80 * MIB
