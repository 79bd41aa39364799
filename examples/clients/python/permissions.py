"""PermissionsService, call by call."""
from authzed.api import v1
from authzed.api.v1 import permission_service_pb2
from google.protobuf.struct_pb2 import Struct

from connect import FULLY_CONSISTENT, client, object, relationship, subject, text

Permissionship = v1.CheckPermissionResponse.Permissionship
LookupPermissionship = permission_service_pb2.LookupPermissionship
Operation = v1.AlgebraicSubjectSet.Operation

# [check]
answer = client.CheckPermission(v1.CheckPermissionRequest(
    consistency=FULLY_CONSISTENT, resource=object("document:plan"), permission="view", subject=subject("user:ann")))
print("ann:", Permissionship.Name(answer.permissionship))
# [/check]

# [check-context]
context = Struct()
context.update({"hour": 12})
answer = client.CheckPermission(v1.CheckPermissionRequest(
    consistency=FULLY_CONSISTENT, resource=object("document:plan"), permission="view", subject=subject("user:carl"),
    context=context))
print("carl at 12:", Permissionship.Name(answer.permissionship))
# [/check-context]

# [check-bulk]
answer = client.CheckBulkPermissions(v1.CheckBulkPermissionsRequest(consistency=FULLY_CONSISTENT, items=[
    v1.CheckBulkPermissionsRequestItem(resource=object("document:plan"), permission="view", subject=subject(who))
    for who in ["user:ann", "user:bert", "user:carl"]]))
for pair in answer.pairs:  # in the order of the items; each has an item or an error
    missing = pair.item.partial_caveat_info.missing_required_context
    print(pair.request.subject.object.object_id, Permissionship.Name(pair.item.permissionship), *missing)
# [/check-bulk]

# [write]
answer = client.WriteRelationships(v1.WriteRelationshipsRequest(
    updates=[v1.RelationshipUpdate(
        operation=v1.RelationshipUpdate.OPERATION_TOUCH, relationship=relationship("document:plan#viewer@user:bert"))],
    optional_preconditions=[v1.Precondition(
        operation=v1.Precondition.OPERATION_MUST_MATCH,
        filter=v1.RelationshipFilter(
            resource_type="document", optional_resource_id="plan", optional_relation="owner"))]))
token = answer.written_at  # store it beside the document
# [/write]

# [read]
answers = client.ReadRelationships(v1.ReadRelationshipsRequest(
    consistency=v1.Consistency(at_least_as_fresh=token),
    relationship_filter=v1.RelationshipFilter(
        resource_type="document", optional_resource_id="plan", optional_relation="viewer"),
    optional_limit=100))  # the next page: optional_cursor=answer.after_result_cursor
for answer in answers:
    print("read", text(answer.relationship))
# [/read]

# [expand]
answer = client.ExpandPermissionTree(v1.ExpandPermissionTreeRequest(
    consistency=FULLY_CONSISTENT, resource=object("document:plan"), permission="view"))
root = answer.tree_root
print("expanded", root.expanded_relation, Operation.Name(root.intermediate.operation),
      *[child.expanded_relation for child in root.intermediate.children])
# [/expand]

# [lookup-resources]
answers = client.LookupResources(v1.LookupResourcesRequest(
    consistency=FULLY_CONSISTENT, resource_object_type="document", permission="view", subject=subject("user:ann"),
    optional_limit=100))
for answer in answers:
    print("ann views", answer.resource_object_id, LookupPermissionship.Name(answer.permissionship))
# [/lookup-resources]

# [lookup-subjects]
answers = client.LookupSubjects(v1.LookupSubjectsRequest(
    consistency=FULLY_CONSISTENT, resource=object("document:plan"), permission="view", subject_object_type="user"))
for answer in answers:
    print("plan is viewed by", answer.subject.subject_object_id, LookupPermissionship.Name(answer.subject.permissionship))
# [/lookup-subjects]

# [delete]
answer = client.DeleteRelationships(v1.DeleteRelationshipsRequest(relationship_filter=v1.RelationshipFilter(
    resource_type="document", optional_resource_id="plan",
    optional_subject_filter=v1.SubjectFilter(subject_type="user", optional_subject_id="bert"))))
print("deletion:", v1.DeleteRelationshipsResponse.DeletionProgress.Name(answer.deletion_progress))
# [/delete]

# [import]
batches = (permission_service_pb2.ImportBulkRelationshipsRequest(relationships=[
    relationship(f"group:ops#member@user:{batch}-{number}") for number in range(100)]) for batch in range(3))
answer = client.ImportBulkRelationships(batches)  # all in one transaction
print("imported", answer.num_loaded)
# [/import]

# [export]
answers = client.ExportBulkRelationships(permission_service_pb2.ExportBulkRelationshipsRequest(
    consistency=FULLY_CONSISTENT,
    optional_relationship_filter=v1.RelationshipFilter(resource_type="group", optional_resource_id="ops")))
print("exported", sum(len(answer.relationships) for answer in answers))
# [/export]
