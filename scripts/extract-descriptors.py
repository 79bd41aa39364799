#!/usr/bin/env python3
"""Writes proto/authzed.descriptors.txt: names, numbers, types, oneofs and streaming of authzed.api.v1 and
authzed.api.materialize.v0.

Reads them from the public client package, so that a test can compare the compiled protos with what clients are built from:

    python3 -m venv /tmp/authzed && /tmp/authzed/bin/pip install authzed==1.25.0
    /tmp/authzed/bin/python scripts/extract-descriptors.py > proto/authzed.descriptors.txt

With --check it writes nothing and fails if the file differs from the installed package.
"""
import importlib
import pathlib
import sys
from importlib.metadata import version

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

FILES = {
    "materialize.v0": ["relationships", "watchpermissions", "watchpermissionsets"],
    "v1": ["core", "debug", "error_reason", "experimental_service", "permission_service", "schema_service", "watch_service"],
}
TABLE = pathlib.Path(__file__).parent.parent / "proto" / "authzed.descriptors.txt"


def main():
    lines = [f"# Facts of the authzed.api packages in the client package authzed {version('authzed')} (PyPI)."]
    lines.append("# Written by scripts/extract-descriptors.py; compared with the compiled protos by a test of crates/api.")
    for package, name in [(package, name) for package, names in FILES.items() for name in names]:
        file = FileDescriptorProto()
        importlib.import_module(f"authzed.api.{package}.{name}_pb2").DESCRIPTOR.CopyToProto(file)
        lines += ["", f"file {file.name} {file.package} {file.syntax}"]
        blocks = [block for message in file.message_type for block in message_blocks(message, file.package)]
        blocks += [enum_block(enum, file.package) for enum in file.enum_type]
        blocks += [service_block(service, file.package) for service in file.service]
        lines += sorted(blocks)
    text = "\n".join(lines) + "\n"
    if "--check" not in sys.argv:
        sys.stdout.write(text)
    elif TABLE.read_text() != text:
        sys.exit(f"{TABLE} differs from the installed package: write it anew")


def message_blocks(message, scope):
    """One block for the message and one for each type nested in it; fields by number, whatever order they are declared in."""
    name = f"{scope}.{message.name}"
    lines = [f"message {name}"]
    for field in sorted(message.field, key=lambda field: field.number):
        oneof = f" oneof {message.oneof_decl[field.oneof_index].name}" if field.HasField("oneof_index") else ""
        lines.append(f"  {field.number} {field.name} {label(field)}{type_name(field)}{oneof}")
    blocks = ["\n".join(lines)]
    for nested in message.nested_type:
        blocks += message_blocks(nested, name)
    return blocks + [enum_block(enum, name) for enum in message.enum_type]


def enum_block(enum, scope):
    return "\n".join([f"enum {scope}.{enum.name}"] + [f"  {value.number} {value.name}" for value in enum.value])


def service_block(service, scope):
    methods = sorted(service.method, key=lambda method: method.name)
    return "\n".join([f"service {scope}.{service.name}"] + [method_line(method) for method in methods])


def method_line(method):
    stream = lambda on: "stream " if on else ""
    return (f"  {method.name} {stream(method.client_streaming)}{method.input_type[1:]}"
            f" -> {stream(method.server_streaming)}{method.output_type[1:]}")


def label(field):
    return "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""


def type_name(field):
    return field.type_name[1:] or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


main()
