"""SchemaService, call by call."""
from authzed.api import v1
from authzed.api.v1 import schema_service_pb2

from connect import FULLY_CONSISTENT, client

# [read]
answer = client.ReadSchema(v1.ReadSchemaRequest())
schema = answer.schema_text
print("read", len(schema.splitlines()), "lines")
# [/read]

# [diff]
planned = schema.replace("viewer + edit", "viewer + edit + guest").replace(
    "relation owner: user", "relation owner: user\n\trelation guest: user")
answer = client.DiffSchema(schema_service_pb2.DiffSchemaRequest(
    consistency=FULLY_CONSISTENT, comparison_schema=planned))
for diff in answer.diffs:
    print("differs:", diff.WhichOneof("diff"))
# [/diff]

# [write]
answer = client.WriteSchema(v1.WriteSchemaRequest(schema=planned))
token = answer.written_at
# [/write]

# [reflect]
answer = client.ReflectSchema(schema_service_pb2.ReflectSchemaRequest(
    consistency=v1.Consistency(at_least_as_fresh=token),
    optional_filters=[schema_service_pb2.ReflectionSchemaFilter(optional_definition_name_filter="document")]))
for definition in answer.definitions:
    print(definition.name, "has relations", *[relation.name for relation in definition.relations])
    print(definition.name, "has permissions", *[permission.name for permission in definition.permissions])
# [/reflect]

# [computable]
answer = client.ComputablePermissions(schema_service_pb2.ComputablePermissionsRequest(
    consistency=FULLY_CONSISTENT, definition_name="document", relation_name="owner"))
print("owner decides", *[permission.relation_name for permission in answer.permissions])
# [/computable]

# [dependent]
answer = client.DependentRelations(schema_service_pb2.DependentRelationsRequest(
    consistency=FULLY_CONSISTENT, definition_name="document", permission_name="edit"))
print("edit depends on", *[relation.relation_name for relation in answer.relations])
# [/dependent]
