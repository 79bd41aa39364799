// SchemaService, call by call.
import { v1 } from "@authzed/authzed-node";

import { client, fullyConsistent } from "./connect.mjs";

// [read]
const { schemaText } = await client.readSchema(v1.ReadSchemaRequest.create());
console.log("read", schemaText.trimEnd().split("\n").length, "lines");
// [/read]

// [diff]
const planned = schemaText
  .replace("viewer + edit", "viewer + edit + guest")
  .replace("relation owner: user", "relation owner: user\n\trelation guest: user");
const { diffs } = await client.diffSchema(v1.DiffSchemaRequest.create({
  consistency: fullyConsistent, comparisonSchema: planned,
}));
for (const { diff } of diffs) console.log("differs:", diff.oneofKind);
// [/diff]

// [write]
const { writtenAt } = await client.writeSchema(v1.WriteSchemaRequest.create({ schema: planned }));
// [/write]

// [reflect]
const { definitions } = await client.reflectSchema(v1.ReflectSchemaRequest.create({
  consistency: { requirement: { oneofKind: "atLeastAsFresh", atLeastAsFresh: writtenAt } },
  optionalFilters: [v1.ReflectionSchemaFilter.create({ optionalDefinitionNameFilter: "document" })],
}));
for (const { name, relations, permissions } of definitions) {
  console.log(name, "has relations", ...relations.map((relation) => relation.name));
  console.log(name, "has permissions", ...permissions.map((permission) => permission.name));
}
// [/reflect]

// [computable]
const computable = await client.computablePermissions(v1.ComputablePermissionsRequest.create({
  consistency: fullyConsistent, definitionName: "document", relationName: "owner",
}));
console.log("owner decides", ...computable.permissions.map((permission) => permission.relationName));
// [/computable]

// [dependent]
const dependent = await client.dependentRelations(v1.DependentRelationsRequest.create({
  consistency: fullyConsistent, definitionName: "document", permissionName: "edit",
}));
console.log("edit depends on", ...dependent.relations.map((relation) => relation.relationName));
// [/dependent]
