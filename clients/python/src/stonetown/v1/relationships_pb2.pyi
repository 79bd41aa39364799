import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from stonetown.v1 import core_pb2 as _core_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Relationship(_message.Message):
    __slots__ = ("resource", "relation", "subject", "caveat", "caveat_context", "not_before", "expires_at")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CAVEAT_FIELD_NUMBER: _ClassVar[int]
    CAVEAT_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    resource: _core_pb2.ObjectRef
    relation: str
    subject: _core_pb2.SubjectRef
    caveat: str
    caveat_context: _struct_pb2.Struct
    not_before: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, resource: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., relation: _Optional[str] = ..., subject: _Optional[_Union[_core_pb2.SubjectRef, _Mapping]] = ..., caveat: _Optional[str] = ..., caveat_context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RelationshipUpdate(_message.Message):
    __slots__ = ("operation", "relationship")
    class Operation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OPERATION_UNSPECIFIED: _ClassVar[RelationshipUpdate.Operation]
        OPERATION_CREATE: _ClassVar[RelationshipUpdate.Operation]
        OPERATION_TOUCH: _ClassVar[RelationshipUpdate.Operation]
        OPERATION_DELETE: _ClassVar[RelationshipUpdate.Operation]
    OPERATION_UNSPECIFIED: RelationshipUpdate.Operation
    OPERATION_CREATE: RelationshipUpdate.Operation
    OPERATION_TOUCH: RelationshipUpdate.Operation
    OPERATION_DELETE: RelationshipUpdate.Operation
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIP_FIELD_NUMBER: _ClassVar[int]
    operation: RelationshipUpdate.Operation
    relationship: Relationship
    def __init__(self, operation: _Optional[_Union[RelationshipUpdate.Operation, str]] = ..., relationship: _Optional[_Union[Relationship, _Mapping]] = ...) -> None: ...

class WriteRelationshipsRequest(_message.Message):
    __slots__ = ("updates",)
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[RelationshipUpdate]
    def __init__(self, updates: _Optional[_Iterable[_Union[RelationshipUpdate, _Mapping]]] = ...) -> None: ...

class WriteRelationshipsResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class ListRelationshipsRequest(_message.Message):
    __slots__ = ("resource_type", "resource_id", "relation", "subject_type", "subject_id", "include_pending", "freshness", "page")
    RESOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PENDING_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    resource_type: str
    resource_id: str
    relation: str
    subject_type: str
    subject_id: str
    include_pending: bool
    freshness: _core_pb2.Freshness
    page: _core_pb2.Page
    def __init__(self, resource_type: _Optional[str] = ..., resource_id: _Optional[str] = ..., relation: _Optional[str] = ..., subject_type: _Optional[str] = ..., subject_id: _Optional[str] = ..., include_pending: bool = ..., freshness: _Optional[_Union[_core_pb2.Freshness, _Mapping]] = ..., page: _Optional[_Union[_core_pb2.Page, _Mapping]] = ...) -> None: ...

class ListRelationshipsResponse(_message.Message):
    __slots__ = ("relationship", "token", "cursor")
    RELATIONSHIP_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    relationship: Relationship
    token: str
    cursor: str
    def __init__(self, relationship: _Optional[_Union[Relationship, _Mapping]] = ..., token: _Optional[str] = ..., cursor: _Optional[str] = ...) -> None: ...
