"""Starts Debian's Prometheus as a process of its own, scraping one target, and asks it. For the agent's tests."""

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from local.supervisor.ports import free_port
from tests.eventually import eventually

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PrometheusProcess:
    """Prometheus with its data in `directory`."""

    def __init__(self, directory: Path, target: str, every: str) -> None:
        assert shutil.which("prometheus"), "prometheus is missing; as root: apt-get install prometheus"
        directory.mkdir(parents=True)
        job = {"job_name": "agent", "scrape_interval": every, "static_configs": [{"targets": [target]}]}
        configuration = directory / "prometheus.yml"
        configuration.write_text(json.dumps({"scrape_configs": [job]}))  # JSON is YAML
        self.address = f"127.0.0.1:{free_port()}"
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address={self.address}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        eventually(self._is_ready, "a ready Prometheus")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, path: str, **parameters: str):
        """The data of an answer of the HTTP API."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with _NO_PROXY.open(url, timeout=10) as response:
            answer = json.load(response)
        assert answer["status"] == "success"
        return answer["data"]

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of every series of an instant query's result, without the labels of the target."""
        return [
            ({name: text for name, text in each["metric"].items() if name not in ("instance", "job")}, float(value))
            for each in self.ask("query", query=promql)["result"]
            for _, value in [each["value"]]
        ]

    def value(self, promql: str) -> float:
        """The value of the only series of a query's result."""
        ((_, value),) = self.query(promql)
        return value

    def scraped(self, selector: str) -> list[tuple[float, float]]:
        """What was scraped of one series in the last hour: when, and the value."""
        (series,) = self.ask("query", query=f"{selector}[1h]")["result"]
        return [(when, float(value)) for when, value in series["values"]]

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            with _NO_PROXY.open(f"http://{self.address}/-/ready", timeout=5) as response:
                return response.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False
