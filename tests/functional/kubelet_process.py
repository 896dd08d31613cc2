"""Starts the stand-in kubelet as a process of its own, for the agent's tests."""

import json
import ssl
import urllib.request
from pathlib import Path

from agent_process import Program

from agent.collector import Kubelet
from tests.eventually import eventually


class KubeletProcess:
    """A kubelet; every start listens on the same port and knows the same tokens."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.token_file = directory / "token"
        self.ca_file = directory / "ca.crt"
        self.port = 0
        self.start(*arguments)

    def start(self, *arguments: str) -> None:
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        self.program = Program(
            self.directory,
            [
                *("local.kubelet", "--port", str(self.port), "--data", str(self.directory)),
                *("--faults", "--ready-file", str(ready), *arguments),
            ],
            {},
        )
        self.port = json.loads(eventually(lambda: ready.exists() and ready.read_text(), "a ready kubelet"))["port"]

    def stop(self) -> None:
        self.program.stop()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def settings(self, **changes: object) -> Kubelet:
        """What the agent needs to reach it."""
        return Kubelet(**{"url": self.url, "token_file": self.token_file, "ca_file": self.ca_file, **changes})

    def environment(self) -> dict[str, str]:
        """The same as environment variables."""
        return {
            "AGENT_KUBELET_URL": self.url,
            "AGENT_KUBELET_TOKEN_FILE": str(self.token_file),
            "AGENT_KUBELET_CA_FILE": str(self.ca_file),
        }

    def rotate(self, token: str, *rights: str) -> None:
        """Lets only this token in, and gives it to the pod."""
        (self.directory / "tokens.json").write_text(json.dumps({token: rights}))
        self.token_file.write_text(token)

    def misbehave(self, fault: str, **details: float) -> None:
        """Orders a fault."""
        order = json.dumps({"fault": fault, **details}).encode()
        self._open(urllib.request.Request(f"{self.url}/faults", order, {"Content-Type": "application/json"}))

    def counts(self) -> dict[str, int]:
        """How many requests and connections it has seen."""
        return json.loads(self._open(urllib.request.Request(f"{self.url}/faults")))

    def _open(self, request: urllib.request.Request) -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return response.read()
