"""Writes what the clients have by the protos: messages by protoc, and by this file a typed way to each service, the list of
calls that are repeated when the server is away, and the reasons of errors. Run by generate.sh, which has its tools."""
import argparse
import filecmp
import hashlib
import json
import pathlib
import re
import shutil
import sys
import tempfile

import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

import generate_go
import generate_python
import generate_typescript

HERE = pathlib.Path(__file__).parent
PROTO = HERE.parent / "proto"
PACKAGE = PROTO / "stonetown" / "v1"

# Calls that change nothing begin with one of these words; they are the ones that are repeated.
READS = re.compile(r"^(Check|Explain|Find|Get|List|Prove|Search|What|Who)(?![a-z])")
# Repeated as well: the same again has the same effect.
REPEATABLE = {("GrantService", "CompleteTask")}
RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


class Method:
    """A call: its names, types and comment."""

    def __init__(self, service, proto, comment, messages):
        self.service = service
        self.name = proto.name
        self.snake = snake(proto.name)
        self.request = proto.input_type.removeprefix(".stonetown.v1.")
        self.response = proto.output_type.removeprefix(".stonetown.v1.")
        self.streams = proto.server_streaming
        if proto.client_streaming:
            sys.exit(f"{service}.{proto.name}: the clients know no calls that stream requests")
        self.comment = comment
        fields = {field.name for field in messages[self.request].field}
        # A request with a key is the same request again; the clients set a key where none is set.
        self.retried = bool(READS.match(proto.name)) or (service, proto.name) in REPEATABLE or "idempotency_key" in fields


class Service:
    """A service: `DecisionService`, which clients have as `decision`."""

    def __init__(self, file, index, messages):
        proto = file.service[index]
        comments = {tuple(at.path): text(at.leading_comments) for at in file.source_code_info.location}
        self.name = proto.name
        self.snake = snake(proto.name.removesuffix("Service"))
        # A file is about its one service: what stands at its top says what that is for.
        about = [text(comment) for at in file.source_code_info.location for comment in at.leading_detached_comments]
        self.comment = comments.get((6, index)) or " ".join(about) or comments.get((12,), "")
        self.methods = [
            Method(proto.name, method, comments.get((6, index, 2, number), ""), messages)
            for number, method in enumerate(proto.method)
        ]


class Protos:
    """All that is in the protos, as the writers of each language need it."""

    def __init__(self, files):
        self.files = sorted(name_of(file) for file in files)
        messages = {message.name: message for file in files for message in file.message_type}
        # Messages, enums, and the values of those, which Python has beside them.
        self.names = {
            name_of(file): [item.name for item in [*file.message_type, *file.enum_type]]
            + [value.name for enum in file.enum_type for value in enum.value]
            for file in files
        }
        services = [Service(file, index, messages) for file in files for index in range(len(file.service))]
        self.services = sorted(services, key=lambda service: service.snake)
        self.reasons = reasons()
        # https://github.com/grpc/grpc/blob/master/doc/service_config.md
        retried = [
            {"service": f"stonetown.v1.{service.name}", "method": method.name}
            for service in self.services for method in service.methods if method.retried
        ]
        self.service_config = json.dumps({"methodConfig": [{"name": retried, "retryPolicy": RETRY}]}, separators=(",", ":"))


def reasons():
    """The reasons that errors carry, without the prefix that they have on the wire."""
    found = (PROTO / "authzed" / "api" / "v1" / "error_reason.proto").read_text()
    return [name for name in re.findall(r"^  ERROR_REASON_(\w+) = \d+;", found, re.M) if name != "UNSPECIFIED"]


def name_of(file):
    return pathlib.PurePath(file.name).stem


def snake(name):
    """`WhoAmI` is `who_am_i`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def text(comment):
    return " ".join(comment.split())


def run_protoc(*arguments):
    inside = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    if protoc.main(["protoc", *map(str, arguments), f"-I{PROTO}", f"-I{inside}"]) != 0:
        sys.exit("protoc failed")


def digests(files):
    """What house_rules compares with the protos, to say at once that they have changed."""
    sources = [PROTO / "authzed" / "api" / "v1" / "error_reason.proto", *files]
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(PROTO)}\n" for file in sources]
    return "".join(lines)


def write(root, plugins):
    """Writes everything below `root`, in the folders of the clients."""
    files = sorted(PACKAGE.glob("*.proto"))
    with tempfile.NamedTemporaryFile() as described:
        run_protoc("--include_source_info", f"--descriptor_set_out={described.name}", *files)
        protos = Protos(FileDescriptorSet.FromString(described.read()).file)
    for language in (generate_python, generate_typescript, generate_go):
        language.write(protos, files, root, run_protoc, plugins)
    (root / "protos.sha256").write_text(digests(files))


# The folders and files that are generated, all of them and nothing else.
GENERATED = [*generate_python.GENERATED, *generate_typescript.GENERATED, *generate_go.GENERATED, "protos.sha256"]


def differences(one, other):
    """Names of files that are not the same on both sides."""
    if not one.is_dir():
        return [] if other.is_file() and filecmp.cmp(one, other, shallow=False) else [one.name]
    here, there = ({path.relative_to(root) for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
                   for root in (one, other))
    common = {path for path in here & there if filecmp.cmp(one / path, other / path, shallow=False)}
    return sorted(str(path) for path in (here | there) - common)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugins", type=pathlib.Path, required=True, help="folder of Go's plugins for protoc")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where something differs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        made = pathlib.Path(made)
        write(made, arguments.plugins)
        differing = {part: differences(made / part, HERE / part) for part in GENERATED}
        differing = {part: names for part, names in differing.items() if names}
        if not differing:
            print("generated code of the clients: up to date")
        elif arguments.check:
            for part, names in differing.items():
                print(f"clients/{part} is not what the protos say: {', '.join(names)}", file=sys.stderr)
            sys.exit("run clients/generate.sh")
        else:
            for part in differing:
                shutil.rmtree(HERE / part, ignore_errors=True) if (made / part).is_dir() else None
                move = shutil.copytree if (made / part).is_dir() else shutil.copy
                (HERE / part).parent.mkdir(parents=True, exist_ok=True)
                move(made / part, HERE / part)
                print(f"written: clients/{part}")


if __name__ == "__main__":
    main()
