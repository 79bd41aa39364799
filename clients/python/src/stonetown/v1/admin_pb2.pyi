from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoResponse(_message.Message):
    __slots__ = ("version", "instance", "head_revision", "oldest_revision", "disk_bytes", "log_entries")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    HEAD_REVISION_FIELD_NUMBER: _ClassVar[int]
    OLDEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    version: str
    instance: str
    head_revision: int
    oldest_revision: int
    disk_bytes: int
    log_entries: int
    def __init__(self, version: _Optional[str] = ..., instance: _Optional[str] = ..., head_revision: _Optional[int] = ..., oldest_revision: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., log_entries: _Optional[int] = ...) -> None: ...

class CheckpointRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CheckpointResponse(_message.Message):
    __slots__ = ("done",)
    DONE_FIELD_NUMBER: _ClassVar[int]
    done: CheckpointDone
    def __init__(self, done: _Optional[_Union[CheckpointDone, _Mapping]] = ...) -> None: ...

class CheckpointDone(_message.Message):
    __slots__ = ("path", "revision", "token", "bytes")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    path: str
    revision: int
    token: str
    bytes: int
    def __init__(self, path: _Optional[str] = ..., revision: _Optional[int] = ..., token: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class ScrubRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ScrubResponse(_message.Message):
    __slots__ = ("keys", "report")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    keys: int
    report: ScrubReport
    def __init__(self, keys: _Optional[int] = ..., report: _Optional[_Union[ScrubReport, _Mapping]] = ...) -> None: ...

class ScrubReport(_message.Message):
    __slots__ = ("revision", "versions", "commits", "names", "differences", "more_differences")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    MORE_DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    revision: int
    versions: int
    commits: int
    names: int
    differences: _containers.RepeatedCompositeFieldContainer[Difference]
    more_differences: int
    def __init__(self, revision: _Optional[int] = ..., versions: _Optional[int] = ..., commits: _Optional[int] = ..., names: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ..., more_differences: _Optional[int] = ...) -> None: ...

class Difference(_message.Message):
    __slots__ = ("kind", "what")
    KIND_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    what: str
    def __init__(self, kind: _Optional[str] = ..., what: _Optional[str] = ...) -> None: ...
