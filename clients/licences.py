"""Fails where something that a client brings along has a licence that deny.toml does not allow. Run in the environment of the
Python client's tests, with the packages of the others installed."""
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).parent
ALLOWED = set(tomllib.loads((HERE.parent / "deny.toml").read_text())["licenses"]["allow"])
# Python's own licence, of what Python's own authors publish beside it: permissive.
ALLOWED.add("PSF-2.0")

# The words of a licence that Go modules, which name none, have in their files.
TEXTS = {
    "Apache-2.0": "Apache License",
    "BSD-3-Clause": "Redistribution and use in source and binary forms",
    "MIT": "Permission is hereby granted, free of charge",
}
# How packages spell it that are older than names for licences.
SPELLED = {
    "3-Clause BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
}


def python():
    """What is installed with the package, by what its parts say they need."""
    project = tomllib.loads((HERE / "python" / "pyproject.toml").read_text())["project"]
    open_, seen = list(project["dependencies"]), set()
    while open_:
        requirement = open_.pop()
        name = re.match(r"[\w.-]+", requirement)[0].lower()
        if name in seen or "extra ==" in requirement:
            continue
        seen.add(name)
        distribution = importlib.metadata.distribution(name)
        open_ += distribution.requires or []
        metadata = distribution.metadata
        spelled = [metadata["License"], *metadata.get_all("Classifier", [])]
        yield name, metadata["License-Expression"] or next((SPELLED[word] for word in spelled if word in SPELLED), None)


def typescript():
    packages = json.loads((HERE / "typescript" / "package-lock.json").read_text())["packages"]
    for path, package in packages.items():
        if path and not package.get("dev"):
            yield path.rsplit("node_modules/", 1)[1], package.get("license")


def go():
    listed = subprocess.run(
        ["go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./..."],
        cwd=HERE / "go", check=True, capture_output=True, text=True).stdout
    for line in sorted(set(listed.split("\n")) - {""}):
        module, folder = line.split("\t")
        texts = [file.read_text() for file in pathlib.Path(folder).glob("LICENSE*")]
        yield module, next((name for name, words in TEXTS.items() if any(words in text for text in texts)), None)


def main():
    refused = []
    for language in (python, typescript, go):
        found = dict(language())
        print(f"{language.__name__}: " + ", ".join(f"{name} ({licence})" for name, licence in sorted(found.items())))
        if not found:
            refused.append(f"{language.__name__}: nothing was found")
        for name, licence in found.items():
            named = set(re.findall(r"[\w.-]+", licence or "none")) - {"AND", "OR"}
            if not named <= ALLOWED:
                refused.append(f"{language.__name__}: {name} has {licence}")
    if refused:
        sys.exit("\n".join(refused))


if __name__ == "__main__":
    main()
