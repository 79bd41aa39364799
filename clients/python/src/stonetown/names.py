"""Objects and subjects as text: ``document:plan``, ``user:ann``, ``group:eng#member``."""
from __future__ import annotations

from stonetown.v1 import ObjectRef, SubjectRef


def object_ref(text: str | ObjectRef) -> ObjectRef:
    """``document:plan`` as a message.

    Raises :class:`ValueError` where it is not TYPE:ID. Whether type and id are allowed is for the server to say.
    """
    if isinstance(text, ObjectRef):
        return text
    kind, colon, name = text.partition(":")
    if not (kind and colon and name) or "#" in text:
        raise ValueError(f"{text!r} is no object: expected TYPE:ID")
    return ObjectRef(type=kind, id=name)


def subject_ref(text: str | SubjectRef) -> SubjectRef:
    """``user:ann`` or ``group:eng#member`` as a message.

    Raises :class:`ValueError` where it is neither TYPE:ID nor TYPE:ID#RELATION.
    """
    if isinstance(text, SubjectRef):
        return text
    name, hash, relation = text.partition("#")
    if bool(hash) != bool(relation) or "#" in relation:
        raise ValueError(f"{text!r} is no subject: expected TYPE:ID or TYPE:ID#RELATION")
    found = object_ref(name)
    return SubjectRef(type=found.type, id=found.id, relation=relation)
