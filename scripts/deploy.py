"""Lints and renders the chart with several values, and lets the server read the settings that come out: deploy.py CHART BINARY."""

import pathlib
import subprocess
import sys
import tempfile

import yaml
from helm_python import chart as helm

KEYS = {"presharedKeys": ["one", "two"]}
VALUES = {
    "plain": KEYS,
    "tls": KEYS | {"tls": {"secretName": "tls", "clientCaSecretName": "clients"}},
    "existing secret": {"existingSecret": "keys", "metrics": {"serviceMonitor": {"enabled": True}}},
    "placed": KEYS | {"nodeSelector": {"disk": "fast"}, "persistence": {"storageClassName": "fast"}},
}


def main(path: str, binary: str) -> None:
    for name, values in VALUES.items():
        report = helm.lint(path, values=values, strict=True)
        bad = [message for message in report["messages"] if message["severity"] > 1] + report["errors"]
        assert not bad, f"{name}: {bad}"
        rendered = helm.Chart.load(path).render(values, name="release", namespace="default")
        documents = [
            document
            for file, text in rendered.items()
            if file.endswith(".yaml")
            for document in yaml.safe_load_all(text)
            if document
        ]
        kinds = sorted(document["kind"] for document in documents)
        assert all(document["metadata"]["labels"]["app.kubernetes.io/name"] == "stonetown" for document in documents)
        read_settings(next(d for d in documents if d["kind"] == "ConfigMap")["data"]["stonetown.yaml"], binary)
        print(f"chart, {name}: {', '.join(kinds)}")
    try:
        helm.Chart.load(path).render({}, name="release")
    except Exception as error:
        assert "presharedKeys" in str(error), error
    else:
        raise AssertionError("a chart without keys renders")


def read_settings(text: str, binary: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "stonetown.yaml"
        file.write_text(text)
        command = [binary, "config", "--config", str(file), "--grpc-preshared-key", "x"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


main(*sys.argv[1:])
