import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from stonetown.v1 import core_pb2 as _core_pb2
from stonetown.v1 import relationships_pb2 as _relationships_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Obstacle(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBSTACLE_UNSPECIFIED: _ClassVar[Obstacle]
    OBSTACLE_MASKED: _ClassVar[Obstacle]
    OBSTACLE_ERASED: _ClassVar[Obstacle]
    OBSTACLE_STATE_NOT_KEPT: _ClassVar[Obstacle]
    OBSTACLE_OVERLAID: _ClassVar[Obstacle]
    OBSTACLE_NO_ANSWER: _ClassVar[Obstacle]
    OBSTACLE_CUT_OFF: _ClassVar[Obstacle]

class StepState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEP_STATE_UNSPECIFIED: _ClassVar[StepState]
    STEP_STATE_HOLDS: _ClassVar[StepState]
    STEP_STATE_MISSING_CONTEXT: _ClassVar[StepState]
    STEP_STATE_CONDITION_FALSE: _ClassVar[StepState]
    STEP_STATE_CONDITION_FAILED: _ClassVar[StepState]
    STEP_STATE_NOT_BEGUN: _ClassVar[StepState]
    STEP_STATE_EXPIRED: _ClassVar[StepState]

class Groups(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GROUPS_FLATTENED: _ClassVar[Groups]
    GROUPS_AS_NAMED: _ClassVar[Groups]
OBSTACLE_UNSPECIFIED: Obstacle
OBSTACLE_MASKED: Obstacle
OBSTACLE_ERASED: Obstacle
OBSTACLE_STATE_NOT_KEPT: Obstacle
OBSTACLE_OVERLAID: Obstacle
OBSTACLE_NO_ANSWER: Obstacle
OBSTACLE_CUT_OFF: Obstacle
STEP_STATE_UNSPECIFIED: StepState
STEP_STATE_HOLDS: StepState
STEP_STATE_MISSING_CONTEXT: StepState
STEP_STATE_CONDITION_FALSE: StepState
STEP_STATE_CONDITION_FAILED: StepState
STEP_STATE_NOT_BEGUN: StepState
STEP_STATE_EXPIRED: StepState
GROUPS_FLATTENED: Groups
GROUPS_AS_NAMED: Groups

class CheckRequest(_message.Message):
    __slots__ = ("resource", "permission", "subject", "context", "freshness", "explain", "chain")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    resource: _core_pb2.ObjectRef
    permission: str
    subject: _core_pb2.SubjectRef
    context: _struct_pb2.Struct
    freshness: _core_pb2.Freshness
    explain: bool
    chain: _containers.RepeatedCompositeFieldContainer[_core_pb2.ObjectRef]
    def __init__(self, resource: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., permission: _Optional[str] = ..., subject: _Optional[_Union[_core_pb2.SubjectRef, _Mapping]] = ..., context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., freshness: _Optional[_Union[_core_pb2.Freshness, _Mapping]] = ..., explain: bool = ..., chain: _Optional[_Iterable[_Union[_core_pb2.ObjectRef, _Mapping]]] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("outcome", "missing_context", "token", "judged_at", "until", "reasons", "requestable")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MISSING_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    JUDGED_AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    REQUESTABLE_FIELD_NUMBER: _ClassVar[int]
    outcome: _core_pb2.Outcome
    missing_context: _containers.RepeatedScalarFieldContainer[str]
    token: str
    judged_at: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    reasons: Reasons
    requestable: _containers.RepeatedCompositeFieldContainer[_core_pb2.Requestable]
    def __init__(self, outcome: _Optional[_Union[_core_pb2.Outcome, str]] = ..., missing_context: _Optional[_Iterable[str]] = ..., token: _Optional[str] = ..., judged_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reasons: _Optional[_Union[Reasons, _Mapping]] = ..., requestable: _Optional[_Iterable[_Union[_core_pb2.Requestable, _Mapping]]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("resource", "permission", "subject", "context", "freshness", "misses", "decision", "chain")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    resource: _core_pb2.ObjectRef
    permission: str
    subject: _core_pb2.SubjectRef
    context: _struct_pb2.Struct
    freshness: _core_pb2.Freshness
    misses: int
    decision: int
    chain: _containers.RepeatedCompositeFieldContainer[_core_pb2.ObjectRef]
    def __init__(self, resource: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., permission: _Optional[str] = ..., subject: _Optional[_Union[_core_pb2.SubjectRef, _Mapping]] = ..., context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., freshness: _Optional[_Union[_core_pb2.Freshness, _Mapping]] = ..., misses: _Optional[int] = ..., decision: _Optional[int] = ..., chain: _Optional[_Iterable[_Union[_core_pb2.ObjectRef, _Mapping]]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("outcome", "missing_context", "token", "judged_at", "until", "reasons", "replay")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MISSING_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    JUDGED_AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    outcome: _core_pb2.Outcome
    missing_context: _containers.RepeatedScalarFieldContainer[str]
    token: str
    judged_at: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    reasons: Reasons
    replay: Replay
    def __init__(self, outcome: _Optional[_Union[_core_pb2.Outcome, str]] = ..., missing_context: _Optional[_Iterable[str]] = ..., token: _Optional[str] = ..., judged_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reasons: _Optional[_Union[Reasons, _Mapping]] = ..., replay: _Optional[_Union[Replay, _Mapping]] = ...) -> None: ...

class Replay(_message.Message):
    __slots__ = ("decision", "question", "recorded", "reason", "decided_at", "judged_at", "token", "caller", "actors", "node", "build", "reproduces", "obstacle", "why_not", "masked")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    JUDGED_AT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    ACTORS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    REPRODUCES_FIELD_NUMBER: _ClassVar[int]
    OBSTACLE_FIELD_NUMBER: _ClassVar[int]
    WHY_NOT_FIELD_NUMBER: _ClassVar[int]
    MASKED_FIELD_NUMBER: _ClassVar[int]
    decision: int
    question: str
    recorded: _core_pb2.Outcome
    reason: str
    decided_at: _timestamp_pb2.Timestamp
    judged_at: _timestamp_pb2.Timestamp
    token: str
    caller: str
    actors: _containers.RepeatedScalarFieldContainer[str]
    node: str
    build: str
    reproduces: bool
    obstacle: Obstacle
    why_not: str
    masked: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, decision: _Optional[int] = ..., question: _Optional[str] = ..., recorded: _Optional[_Union[_core_pb2.Outcome, str]] = ..., reason: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., judged_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., token: _Optional[str] = ..., caller: _Optional[str] = ..., actors: _Optional[_Iterable[str]] = ..., node: _Optional[str] = ..., build: _Optional[str] = ..., reproduces: bool = ..., obstacle: _Optional[_Union[Obstacle, str]] = ..., why_not: _Optional[str] = ..., masked: _Optional[_Iterable[str]] = ...) -> None: ...

class Reasons(_message.Message):
    __slots__ = ("path", "not_excluded_by", "misses", "cut", "cut_off", "refused_by")
    PATH_FIELD_NUMBER: _ClassVar[int]
    NOT_EXCLUDED_BY_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    CUT_OFF_FIELD_NUMBER: _ClassVar[int]
    REFUSED_BY_FIELD_NUMBER: _ClassVar[int]
    path: _containers.RepeatedCompositeFieldContainer[Step]
    not_excluded_by: _containers.RepeatedScalarFieldContainer[str]
    misses: _containers.RepeatedCompositeFieldContainer[Miss]
    cut: bool
    cut_off: bool
    refused_by: str
    def __init__(self, path: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., not_excluded_by: _Optional[_Iterable[str]] = ..., misses: _Optional[_Iterable[_Union[Miss, _Mapping]]] = ..., cut: bool = ..., cut_off: bool = ..., refused_by: _Optional[str] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("depth", "serves", "relationship", "state", "missing_context", "condition", "provenance", "essential", "source")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    SERVES_FIELD_NUMBER: _ClassVar[int]
    RELATIONSHIP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MISSING_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    ESSENTIAL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    depth: int
    serves: str
    relationship: _relationships_pb2.Relationship
    state: StepState
    missing_context: _containers.RepeatedScalarFieldContainer[str]
    condition: str
    provenance: _core_pb2.Provenance
    essential: bool
    source: int
    def __init__(self, depth: _Optional[int] = ..., serves: _Optional[str] = ..., relationship: _Optional[_Union[_relationships_pb2.Relationship, _Mapping]] = ..., state: _Optional[_Union[StepState, str]] = ..., missing_context: _Optional[_Iterable[str]] = ..., condition: _Optional[str] = ..., provenance: _Optional[_Union[_core_pb2.Provenance, _Mapping]] = ..., essential: bool = ..., source: _Optional[int] = ...) -> None: ...

class Miss(_message.Message):
    __slots__ = ("path", "exclusions", "lacking")
    PATH_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIONS_FIELD_NUMBER: _ClassVar[int]
    LACKING_FIELD_NUMBER: _ClassVar[int]
    path: _containers.RepeatedCompositeFieldContainer[Step]
    exclusions: _containers.RepeatedCompositeFieldContainer[Exclusion]
    lacking: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, path: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., exclusions: _Optional[_Iterable[_Union[Exclusion, _Mapping]]] = ..., lacking: _Optional[_Iterable[str]] = ...) -> None: ...

class Exclusion(_message.Message):
    __slots__ = ("by", "path")
    BY_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    by: str
    path: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, by: _Optional[str] = ..., path: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class WhoCanRequest(_message.Message):
    __slots__ = ("resource", "permission", "subject_type", "subject_relation", "context", "freshness", "page", "groups", "with_path")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_RELATION_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    WITH_PATH_FIELD_NUMBER: _ClassVar[int]
    resource: _core_pb2.ObjectRef
    permission: str
    subject_type: str
    subject_relation: str
    context: _struct_pb2.Struct
    freshness: _core_pb2.Freshness
    page: _core_pb2.Page
    groups: Groups
    with_path: bool
    def __init__(self, resource: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., permission: _Optional[str] = ..., subject_type: _Optional[str] = ..., subject_relation: _Optional[str] = ..., context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., freshness: _Optional[_Union[_core_pb2.Freshness, _Mapping]] = ..., page: _Optional[_Union[_core_pb2.Page, _Mapping]] = ..., groups: _Optional[_Union[Groups, str]] = ..., with_path: bool = ...) -> None: ...

class WhoCanResponse(_message.Message):
    __slots__ = ("subject", "outcome", "missing_context", "excluded", "until", "path", "token", "cursor")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MISSING_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    subject: _core_pb2.SubjectRef
    outcome: _core_pb2.Outcome
    missing_context: _containers.RepeatedScalarFieldContainer[str]
    excluded: _containers.RepeatedCompositeFieldContainer[ExcludedSubject]
    until: _timestamp_pb2.Timestamp
    path: _containers.RepeatedCompositeFieldContainer[Step]
    token: str
    cursor: str
    def __init__(self, subject: _Optional[_Union[_core_pb2.SubjectRef, _Mapping]] = ..., outcome: _Optional[_Union[_core_pb2.Outcome, str]] = ..., missing_context: _Optional[_Iterable[str]] = ..., excluded: _Optional[_Iterable[_Union[ExcludedSubject, _Mapping]]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., path: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., token: _Optional[str] = ..., cursor: _Optional[str] = ...) -> None: ...

class ExcludedSubject(_message.Message):
    __slots__ = ("id", "outcome", "missing_context")
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MISSING_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    id: str
    outcome: _core_pb2.Outcome
    missing_context: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., outcome: _Optional[_Union[_core_pb2.Outcome, str]] = ..., missing_context: _Optional[_Iterable[str]] = ...) -> None: ...

class WhatCanRequest(_message.Message):
    __slots__ = ("subject", "resource_type", "permission", "context", "freshness", "page", "with_path")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    WITH_PATH_FIELD_NUMBER: _ClassVar[int]
    subject: _core_pb2.SubjectRef
    resource_type: str
    permission: str
    context: _struct_pb2.Struct
    freshness: _core_pb2.Freshness
    page: _core_pb2.Page
    with_path: bool
    def __init__(self, subject: _Optional[_Union[_core_pb2.SubjectRef, _Mapping]] = ..., resource_type: _Optional[str] = ..., permission: _Optional[str] = ..., context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., freshness: _Optional[_Union[_core_pb2.Freshness, _Mapping]] = ..., page: _Optional[_Union[_core_pb2.Page, _Mapping]] = ..., with_path: bool = ...) -> None: ...

class WhatCanResponse(_message.Message):
    __slots__ = ("resource", "permission", "outcome", "missing_context", "until", "path", "token", "cursor")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MISSING_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    resource: _core_pb2.ObjectRef
    permission: str
    outcome: _core_pb2.Outcome
    missing_context: _containers.RepeatedScalarFieldContainer[str]
    until: _timestamp_pb2.Timestamp
    path: _containers.RepeatedCompositeFieldContainer[Step]
    token: str
    cursor: str
    def __init__(self, resource: _Optional[_Union[_core_pb2.ObjectRef, _Mapping]] = ..., permission: _Optional[str] = ..., outcome: _Optional[_Union[_core_pb2.Outcome, str]] = ..., missing_context: _Optional[_Iterable[str]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., path: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., token: _Optional[str] = ..., cursor: _Optional[str] = ...) -> None: ...
