import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from stonetown.v1 import core_pb2 as _core_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CheckRequest(_message.Message):
    __slots__ = ("resource", "permission", "subject", "context", "freshness", "chain")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    resource: _core_pb2.ObjectRef
    permission: str
    subject: _core_pb2.SubjectRef
    context: _struct_pb2.Struct
    freshness: _core_pb2.Freshness
    chain: _containers.RepeatedCompositeFieldContainer[_core_pb2.ObjectRef]
    def __init__(self, resource: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., permission: _Optional[str] = ..., subject: _Optional[_Union[_core_pb2.SubjectRef, _Mapping]] = ..., context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., freshness: _Optional[_Union[_core_pb2.Freshness, _Mapping]] = ..., chain: _Optional[_Iterable[_Union[_core_pb2.ObjectRef, _Mapping]]] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("outcome", "missing_context", "token", "judged_at", "until", "requestable")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MISSING_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    JUDGED_AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REQUESTABLE_FIELD_NUMBER: _ClassVar[int]
    outcome: _core_pb2.Outcome
    missing_context: _containers.RepeatedScalarFieldContainer[str]
    token: str
    judged_at: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    requestable: _containers.RepeatedCompositeFieldContainer[_core_pb2.Requestable]
    def __init__(self, outcome: _Optional[_Union[_core_pb2.Outcome, str]] = ..., missing_context: _Optional[_Iterable[str]] = ..., token: _Optional[str] = ..., judged_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., requestable: _Optional[_Iterable[_Union[_core_pb2.Requestable, _Mapping]]] = ...) -> None: ...
