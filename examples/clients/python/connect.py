"""What the other examples share."""
# [connect]
import os

from authzed.api import v1

client = v1.InsecureClient(os.environ["STONETOWN_ENDPOINT"], os.environ["STONETOWN_TOKEN"])
# With TLS: v1.Client("authz.example.com:443", grpcutil.bearer_token_credentials(token))


def object(text):  # document:plan
    kind, name = text.split(":")
    return v1.ObjectReference(object_type=kind, object_id=name)


def subject(text):  # user:ann, group:eng#member
    reference, _, relation = text.partition("#")
    return v1.SubjectReference(object=object(reference), optional_relation=relation)


def relationship(text):  # document:plan#viewer@user:ann
    left, who = text.split("@")
    resource, relation = left.split("#")
    return v1.Relationship(resource=object(resource), relation=relation, subject=subject(who))


FULLY_CONSISTENT = v1.Consistency(fully_consistent=True)


def text(r):
    suffix = f"#{r.subject.optional_relation}" if r.subject.optional_relation else ""
    return (f"{r.resource.object_type}:{r.resource.object_id}#{r.relation}"
            f"@{r.subject.object.object_type}:{r.subject.object.object_id}{suffix}")
# [/connect]
