import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from stonetown.v1 import core_pb2 as _core_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GrantState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRANT_STATE_UNSPECIFIED: _ClassVar[GrantState]
    GRANT_STATE_PENDING: _ClassVar[GrantState]
    GRANT_STATE_APPROVED: _ClassVar[GrantState]
    GRANT_STATE_DENIED: _ClassVar[GrantState]
    GRANT_STATE_CANCELLED: _ClassVar[GrantState]
    GRANT_STATE_EXPIRED: _ClassVar[GrantState]
    GRANT_STATE_REVOKED: _ClassVar[GrantState]
    GRANT_STATE_FAILED: _ClassVar[GrantState]
GRANT_STATE_UNSPECIFIED: GrantState
GRANT_STATE_PENDING: GrantState
GRANT_STATE_APPROVED: GrantState
GRANT_STATE_DENIED: GrantState
GRANT_STATE_CANCELLED: GrantState
GRANT_STATE_EXPIRED: GrantState
GRANT_STATE_REVOKED: GrantState
GRANT_STATE_FAILED: GrantState

class Template(_message.Message):
    __slots__ = ("name", "edges", "parameters", "answers", "ttl_max", "total_max", "stages", "auto", "reason_required", "ticket_required", "emergency", "owner", "requesters", "version")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TemplateParameter
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TemplateParameter, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    TTL_MAX_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MAX_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    AUTO_FIELD_NUMBER: _ClassVar[int]
    REASON_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    TICKET_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    REQUESTERS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    edges: _containers.RepeatedScalarFieldContainer[str]
    parameters: _containers.MessageMap[str, TemplateParameter]
    answers: _containers.RepeatedScalarFieldContainer[str]
    ttl_max: _duration_pb2.Duration
    total_max: _duration_pb2.Duration
    stages: _containers.RepeatedCompositeFieldContainer[TemplateStage]
    auto: _containers.RepeatedCompositeFieldContainer[TemplateRule]
    reason_required: bool
    ticket_required: bool
    emergency: TemplateEmergency
    owner: str
    requesters: _containers.RepeatedScalarFieldContainer[str]
    version: int
    def __init__(self, name: _Optional[str] = ..., edges: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Mapping[str, TemplateParameter]] = ..., answers: _Optional[_Iterable[str]] = ..., ttl_max: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total_max: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[TemplateStage, _Mapping]]] = ..., auto: _Optional[_Iterable[_Union[TemplateRule, _Mapping]]] = ..., reason_required: bool = ..., ticket_required: bool = ..., emergency: _Optional[_Union[TemplateEmergency, _Mapping]] = ..., owner: _Optional[str] = ..., requesters: _Optional[_Iterable[str]] = ..., version: _Optional[int] = ...) -> None: ...

class TemplateParameter(_message.Message):
    __slots__ = ("one_of", "prefix")
    ONE_OF_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    one_of: _containers.RepeatedScalarFieldContainer[str]
    prefix: str
    def __init__(self, one_of: _Optional[_Iterable[str]] = ..., prefix: _Optional[str] = ...) -> None: ...

class TemplateStage(_message.Message):
    __slots__ = ("name", "approvers", "need", "when", "timeout")
    NAME_FIELD_NUMBER: _ClassVar[int]
    APPROVERS_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    approvers: _containers.RepeatedScalarFieldContainer[str]
    need: int
    when: str
    timeout: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., approvers: _Optional[_Iterable[str]] = ..., need: _Optional[int] = ..., when: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TemplateRule(_message.Message):
    __slots__ = ("name", "when", "approve", "ttl_max")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    APPROVE_FIELD_NUMBER: _ClassVar[int]
    TTL_MAX_FIELD_NUMBER: _ClassVar[int]
    name: str
    when: str
    approve: bool
    ttl_max: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., when: _Optional[str] = ..., approve: bool = ..., ttl_max: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TemplateEmergency(_message.Message):
    __slots__ = ("ttl", "reviewers")
    TTL_FIELD_NUMBER: _ClassVar[int]
    REVIEWERS_FIELD_NUMBER: _ClassVar[int]
    ttl: _duration_pb2.Duration
    reviewers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reviewers: _Optional[_Iterable[str]] = ...) -> None: ...

class GrantVote(_message.Message):
    __slots__ = ("by", "stage", "approve", "comment", "at")
    BY_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    APPROVE_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    by: str
    stage: str
    approve: bool
    comment: str
    at: _timestamp_pb2.Timestamp
    def __init__(self, by: _Optional[str] = ..., stage: _Optional[str] = ..., approve: bool = ..., comment: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("id", "template", "template_version", "requester", "beneficiary", "subject", "parameters", "ttl", "starts_at", "reason", "ticket", "task", "emergency", "renews", "asked_at", "version", "state", "because", "stage", "stage_ends_at", "votes", "begins_at", "ends_at", "edges", "active", "review", "needs_review")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    BENEFICIARY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    STARTS_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_FIELD_NUMBER: _ClassVar[int]
    RENEWS_FIELD_NUMBER: _ClassVar[int]
    ASKED_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_ENDS_AT_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    BEGINS_AT_FIELD_NUMBER: _ClassVar[int]
    ENDS_AT_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    REVIEW_FIELD_NUMBER: _ClassVar[int]
    NEEDS_REVIEW_FIELD_NUMBER: _ClassVar[int]
    id: str
    template: str
    template_version: int
    requester: str
    beneficiary: str
    subject: str
    parameters: _containers.ScalarMap[str, str]
    ttl: _duration_pb2.Duration
    starts_at: _timestamp_pb2.Timestamp
    reason: str
    ticket: str
    task: str
    emergency: bool
    renews: str
    asked_at: _timestamp_pb2.Timestamp
    version: int
    state: GrantState
    because: str
    stage: str
    stage_ends_at: _timestamp_pb2.Timestamp
    votes: _containers.RepeatedCompositeFieldContainer[GrantVote]
    begins_at: _timestamp_pb2.Timestamp
    ends_at: _timestamp_pb2.Timestamp
    edges: _containers.RepeatedScalarFieldContainer[str]
    active: bool
    review: GrantVote
    needs_review: bool
    def __init__(self, id: _Optional[str] = ..., template: _Optional[str] = ..., template_version: _Optional[int] = ..., requester: _Optional[str] = ..., beneficiary: _Optional[str] = ..., subject: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., starts_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., ticket: _Optional[str] = ..., task: _Optional[str] = ..., emergency: bool = ..., renews: _Optional[str] = ..., asked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., state: _Optional[_Union[GrantState, str]] = ..., because: _Optional[str] = ..., stage: _Optional[str] = ..., stage_ends_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., votes: _Optional[_Iterable[_Union[GrantVote, _Mapping]]] = ..., begins_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ends_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., edges: _Optional[_Iterable[str]] = ..., active: bool = ..., review: _Optional[_Union[GrantVote, _Mapping]] = ..., needs_review: bool = ...) -> None: ...

class PutTemplateRequest(_message.Message):
    __slots__ = ("template", "reason")
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    template: Template
    reason: str
    def __init__(self, template: _Optional[_Union[Template, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class PutTemplateResponse(_message.Message):
    __slots__ = ("template",)
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    template: Template
    def __init__(self, template: _Optional[_Union[Template, _Mapping]] = ...) -> None: ...

class DeleteTemplateRequest(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeleteTemplateResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTemplatesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTemplatesResponse(_message.Message):
    __slots__ = ("templates",)
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    templates: _containers.RepeatedCompositeFieldContainer[Template]
    def __init__(self, templates: _Optional[_Iterable[_Union[Template, _Mapping]]] = ...) -> None: ...

class RequestGrantRequest(_message.Message):
    __slots__ = ("template", "beneficiary", "subject", "parameters", "ttl", "starts_at", "reason", "ticket", "task", "emergency", "renews", "idempotency_key")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    BENEFICIARY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    STARTS_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_FIELD_NUMBER: _ClassVar[int]
    RENEWS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    template: str
    beneficiary: str
    subject: str
    parameters: _containers.ScalarMap[str, str]
    ttl: _duration_pb2.Duration
    starts_at: _timestamp_pb2.Timestamp
    reason: str
    ticket: str
    task: str
    emergency: bool
    renews: str
    idempotency_key: str
    def __init__(self, template: _Optional[str] = ..., beneficiary: _Optional[str] = ..., subject: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., starts_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., ticket: _Optional[str] = ..., task: _Optional[str] = ..., emergency: bool = ..., renews: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class RequestGrantResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class DecideGrantRequest(_message.Message):
    __slots__ = ("id", "version", "approve", "comment", "ttl_max")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    APPROVE_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    TTL_MAX_FIELD_NUMBER: _ClassVar[int]
    id: str
    version: int
    approve: bool
    comment: str
    ttl_max: _duration_pb2.Duration
    def __init__(self, id: _Optional[str] = ..., version: _Optional[int] = ..., approve: bool = ..., comment: _Optional[str] = ..., ttl_max: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DecideGrantResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class RevokeGrantRequest(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RevokeGrantResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class CompleteTaskRequest(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: str
    def __init__(self, task: _Optional[str] = ...) -> None: ...

class CompleteTaskResponse(_message.Message):
    __slots__ = ("ended",)
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ended: int
    def __init__(self, ended: _Optional[int] = ...) -> None: ...

class ReviewGrantRequest(_message.Message):
    __slots__ = ("id", "justified", "comment")
    ID_FIELD_NUMBER: _ClassVar[int]
    JUSTIFIED_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    id: str
    justified: bool
    comment: str
    def __init__(self, id: _Optional[str] = ..., justified: bool = ..., comment: _Optional[str] = ...) -> None: ...

class ReviewGrantResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class GetGrantRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetGrantResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class ListGrantsRequest(_message.Message):
    __slots__ = ("open", "inbox", "task", "template", "requester", "beneficiary", "limit")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    INBOX_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    BENEFICIARY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    open: bool
    inbox: bool
    task: str
    template: str
    requester: str
    beneficiary: str
    limit: int
    def __init__(self, open: bool = ..., inbox: bool = ..., task: _Optional[str] = ..., template: _Optional[str] = ..., requester: _Optional[str] = ..., beneficiary: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListGrantsResponse(_message.Message):
    __slots__ = ("grants",)
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    def __init__(self, grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ...) -> None: ...

class WatchGrantsRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: str
    def __init__(self, after: _Optional[str] = ...) -> None: ...

class WatchGrantsResponse(_message.Message):
    __slots__ = ("grants", "token")
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    token: str
    def __init__(self, grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., token: _Optional[str] = ...) -> None: ...

class FindTemplatesRequest(_message.Message):
    __slots__ = ("type", "id", "permission")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    permission: str
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., permission: _Optional[str] = ...) -> None: ...

class FindTemplatesResponse(_message.Message):
    __slots__ = ("requestable",)
    REQUESTABLE_FIELD_NUMBER: _ClassVar[int]
    requestable: _containers.RepeatedCompositeFieldContainer[_core_pb2.Requestable]
    def __init__(self, requestable: _Optional[_Iterable[_Union[_core_pb2.Requestable, _Mapping]]] = ...) -> None: ...
