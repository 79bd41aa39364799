"""ExperimentalService, call by call."""
import time

from authzed.api import v1
from authzed.api.v1 import experimental_service_pb2 as experimental

from connect import FULLY_CONSISTENT, client, object, relationship, subject

# [register]
client.ExperimentalRegisterRelationshipCounter(experimental.ExperimentalRegisterRelationshipCounterRequest(
    name="viewers", relationship_filter=v1.RelationshipFilter(resource_type="document", optional_relation="viewer")))
# [/register]

# [count]
request = experimental.ExperimentalCountRelationshipsRequest(name="viewers")
while (answer := client.ExperimentalCountRelationships(request)).counter_still_calculating:
    time.sleep(0.1)  # a moment after it was registered
print("viewers:", answer.read_counter_value.relationship_count)
# [/count]

# [unregister]
client.ExperimentalUnregisterRelationshipCounter(
    experimental.ExperimentalUnregisterRelationshipCounterRequest(name="viewers"))
# [/unregister]

# [bulk-check]
answer = client.BulkCheckPermission(experimental.BulkCheckPermissionRequest(
    consistency=FULLY_CONSISTENT,
    items=[experimental.BulkCheckPermissionRequestItem(
        resource=object("document:plan"), permission="view", subject=subject("user:ann"))]))
print("ann:", v1.CheckPermissionResponse.Permissionship.Name(answer.pairs[0].item.permissionship))
# [/bulk-check]

# [bulk-import]
answer = client.BulkImportRelationships(iter([experimental.BulkImportRelationshipsRequest(
    relationships=[relationship("group:ops#member@user:bert")])]))
print("imported", answer.num_loaded)
# [/bulk-import]

# [bulk-export]
answers = client.BulkExportRelationships(experimental.BulkExportRelationshipsRequest(
    consistency=FULLY_CONSISTENT, optional_relationship_filter=v1.RelationshipFilter(resource_type="group")))
print("exported", sum(len(answer.relationships) for answer in answers))
# [/bulk-export]

# [reflect]
answer = client.ExperimentalReflectSchema(experimental.ExperimentalReflectSchemaRequest(consistency=FULLY_CONSISTENT))
print("definitions", *sorted(definition.name for definition in answer.definitions))
# [/reflect]

# [computable]
answer = client.ExperimentalComputablePermissions(experimental.ExperimentalComputablePermissionsRequest(
    consistency=FULLY_CONSISTENT, definition_name="document", relation_name="owner"))
print("owner decides", *[permission.relation_name for permission in answer.permissions])
# [/computable]

# [dependent]
answer = client.ExperimentalDependentRelations(experimental.ExperimentalDependentRelationsRequest(
    consistency=FULLY_CONSISTENT, definition_name="document", permission_name="edit"))
print("edit depends on", *[relation.relation_name for relation in answer.relations])
# [/dependent]

# [diff]
answer = client.ExperimentalDiffSchema(experimental.ExperimentalDiffSchemaRequest(
    consistency=FULLY_CONSISTENT, comparison_schema="definition user {}"))
print("differences", len(answer.diffs))
# [/diff]
