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

class Attribute(_message.Message):
    __slots__ = ("object", "name", "value", "expires_at")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    object: _core_pb2.ObjectRef
    name: str
    value: _struct_pb2.Value
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, object: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., name: _Optional[str] = ..., value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PutAttributesRequest(_message.Message):
    __slots__ = ("attributes",)
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.RepeatedCompositeFieldContainer[Attribute]
    def __init__(self, attributes: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ...) -> None: ...

class PutAttributesResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class DeleteAttributesRequest(_message.Message):
    __slots__ = ("object", "names")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    object: _core_pb2.ObjectRef
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, object: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteAttributesResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class ListAttributesRequest(_message.Message):
    __slots__ = ("object_type", "object_id", "name", "freshness", "page")
    OBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    object_type: str
    object_id: str
    name: str
    freshness: _core_pb2.Freshness
    page: _core_pb2.Page
    def __init__(self, object_type: _Optional[str] = ..., object_id: _Optional[str] = ..., name: _Optional[str] = ..., freshness: _Optional[_Union[_core_pb2.Freshness, _Mapping]] = ..., page: _Optional[_Union[_core_pb2.Page, _Mapping]] = ...) -> None: ...

class ListAttributesResponse(_message.Message):
    __slots__ = ("attribute", "token", "cursor")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    attribute: Attribute
    token: str
    cursor: str
    def __init__(self, attribute: _Optional[_Union[Attribute, _Mapping]] = ..., token: _Optional[str] = ..., cursor: _Optional[str] = ...) -> None: ...
