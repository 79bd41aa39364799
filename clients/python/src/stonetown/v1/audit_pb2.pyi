import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from stonetown.v1 import principal_pb2 as _principal_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_KIND_UNSPECIFIED: _ClassVar[LogKind]
    LOG_KIND_DECISIONS: _ClassVar[LogKind]
    LOG_KIND_CHANGES: _ClassVar[LogKind]
LOG_KIND_UNSPECIFIED: LogKind
LOG_KIND_DECISIONS: LogKind
LOG_KIND_CHANGES: LogKind

class SearchRecordsRequest(_message.Message):
    __slots__ = ("log", "subject", "resource", "permission", "outcome", "call", "caller", "since", "until", "limit")
    LOG_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    log: LogKind
    subject: str
    resource: str
    permission: str
    outcome: str
    call: str
    caller: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    limit: int
    def __init__(self, log: _Optional[_Union[LogKind, str]] = ..., subject: _Optional[str] = ..., resource: _Optional[str] = ..., permission: _Optional[str] = ..., outcome: _Optional[str] = ..., call: _Optional[str] = ..., caller: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., limit: _Optional[int] = ..., **kwargs) -> None: ...

class SearchRecordsResponse(_message.Message):
    __slots__ = ("record", "next")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    record: LogRecord
    next: int
    def __init__(self, record: _Optional[_Union[LogRecord, _Mapping]] = ..., next: _Optional[int] = ...) -> None: ...

class LogRecord(_message.Message):
    __slots__ = ("index", "fields", "entry", "beside", "leaf_hash")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    BESIDE_FIELD_NUMBER: _ClassVar[int]
    LEAF_HASH_FIELD_NUMBER: _ClassVar[int]
    index: int
    fields: _struct_pb2.Struct
    entry: bytes
    beside: bytes
    leaf_hash: bytes
    def __init__(self, index: _Optional[int] = ..., fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., entry: _Optional[bytes] = ..., beside: _Optional[bytes] = ..., leaf_hash: _Optional[bytes] = ...) -> None: ...

class GetCheckpointRequest(_message.Message):
    __slots__ = ("log",)
    LOG_FIELD_NUMBER: _ClassVar[int]
    log: LogKind
    def __init__(self, log: _Optional[_Union[LogKind, str]] = ...) -> None: ...

class GetCheckpointResponse(_message.Message):
    __slots__ = ("note", "origin", "size", "root", "keys")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    note: str
    origin: str
    size: int
    root: bytes
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, note: _Optional[str] = ..., origin: _Optional[str] = ..., size: _Optional[int] = ..., root: _Optional[bytes] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...

class ProveRecordRequest(_message.Message):
    __slots__ = ("log", "index")
    LOG_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    log: LogKind
    index: int
    def __init__(self, log: _Optional[_Union[LogKind, str]] = ..., index: _Optional[int] = ...) -> None: ...

class ProveRecordResponse(_message.Message):
    __slots__ = ("index", "leaf_hash", "path", "note", "text")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LEAF_HASH_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    index: int
    leaf_hash: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    note: str
    text: str
    def __init__(self, index: _Optional[int] = ..., leaf_hash: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ..., note: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class ProveGrowthRequest(_message.Message):
    __slots__ = ("log", "size")
    LOG_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    log: LogKind
    size: int
    def __init__(self, log: _Optional[_Union[LogKind, str]] = ..., size: _Optional[int] = ...) -> None: ...

class ProveGrowthResponse(_message.Message):
    __slots__ = ("old_root", "path", "note")
    OLD_ROOT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    old_root: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    note: str
    def __init__(self, old_root: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ..., note: _Optional[str] = ...) -> None: ...

class EraseFieldsRequest(_message.Message):
    __slots__ = ("object", "caller", "why")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    object: str
    caller: str
    why: _principal_pb2.Why
    def __init__(self, object: _Optional[str] = ..., caller: _Optional[str] = ..., why: _Optional[_Union[_principal_pb2.Why, _Mapping]] = ...) -> None: ...

class EraseFieldsResponse(_message.Message):
    __slots__ = ("decisions", "changes")
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    decisions: int
    changes: int
    def __init__(self, decisions: _Optional[int] = ..., changes: _Optional[int] = ...) -> None: ...
