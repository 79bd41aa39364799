"""The notes application of docs/first-hour.md."""
from authzed.api import v1

client = v1.InsecureClient("127.0.0.1:50051", "somekey")
TOUCH = v1.RelationshipUpdate.OPERATION_TOUCH
HAS = v1.CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION


def note(name):
    return v1.ObjectReference(object_type="note", object_id=name)


def user(name):
    return v1.SubjectReference(object=v1.ObjectReference(object_type="user", object_id=name))


def share(name, with_whom):
    """Lets somebody read a note. The token stands for this write: store it beside the note."""
    relationship = v1.Relationship(resource=note(name), relation="reader", subject=user(with_whom))
    update = v1.RelationshipUpdate(operation=TOUCH, relationship=relationship)
    return client.WriteRelationships(v1.WriteRelationshipsRequest(updates=[update])).written_at


def may(who, permission, name, token):
    """Whether somebody may do something with a note, by an answer that is no older than the token."""
    answer = client.CheckPermission(v1.CheckPermissionRequest(
        consistency=v1.Consistency(at_least_as_fresh=token),
        resource=note(name), permission=permission, subject=user(who)))
    return answer.permissionship == HAS


def notes_of(who):
    """The notes that somebody may read."""
    rows = client.LookupResources(v1.LookupResourcesRequest(
        resource_object_type="note", permission="read", subject=user(who)))
    return sorted(row.resource_object_id for row in rows)


token = share("minutes", "dora")
print("dora may read minutes:", may("dora", "read", "minutes", token))
print("dora may edit minutes:", may("dora", "edit", "minutes", token))
print("dora's notes:", notes_of("dora"))
print("ann's notes:", notes_of("ann"))
