// ExperimentalService, call by call.
import { v1 } from "@authzed/authzed-node";

import { client, fullyConsistent, object, relationship, subject } from "./connect.mjs";

// [register]
await client.experimentalRegisterRelationshipCounter(v1.ExperimentalRegisterRelationshipCounterRequest.create({
  name: "viewers",
  relationshipFilter: v1.RelationshipFilter.create({ resourceType: "document", optionalRelation: "viewer" }),
}));
// [/register]

// [count]
let counted;
do { // a moment after it was registered, a counter is still calculating
  const request = v1.ExperimentalCountRelationshipsRequest.create({ name: "viewers" });
  counted = (await client.experimentalCountRelationships(request)).counterResult;
} while (counted.oneofKind === "counterStillCalculating");
console.log("viewers:", counted.readCounterValue.relationshipCount);
// [/count]

// [unregister]
await client.experimentalUnregisterRelationshipCounter(
  v1.ExperimentalUnregisterRelationshipCounterRequest.create({ name: "viewers" }));
// [/unregister]

// [bulk-check]
const { pairs } = await client.bulkCheckPermission(v1.BulkCheckPermissionRequest.create({
  consistency: fullyConsistent,
  items: [{ resource: object("document:plan"), permission: "view", subject: subject("user:ann") }],
}));
console.log("ann:", v1.CheckPermissionResponse_Permissionship[pairs[0].response.item.permissionship]);
// [/bulk-check]

// [bulk-import]
const imported = await new Promise((resolve, reject) => {
  const stream = client.bulkImportRelationships((error, answer) => (error ? reject(error) : resolve(answer)));
  stream.end(v1.BulkImportRelationshipsRequest.create({ relationships: [relationship("group:ops#member@user:bert")] }));
});
console.log("imported", imported.numLoaded);
// [/bulk-import]

// [bulk-export]
const exported = await client.bulkExportRelationships(v1.BulkExportRelationshipsRequest.create({
  consistency: fullyConsistent, optionalRelationshipFilter: v1.RelationshipFilter.create({ resourceType: "group" }),
}));
console.log("exported", exported.reduce((sum, answer) => sum + answer.relationships.length, 0));
// [/bulk-export]

// [reflect]
const { definitions } = await client.experimentalReflectSchema(
  v1.ExperimentalReflectSchemaRequest.create({ consistency: fullyConsistent }));
console.log("definitions", ...definitions.map((definition) => definition.name).sort());
// [/reflect]

// [computable]
const { permissions } = await client.experimentalComputablePermissions(
  v1.ExperimentalComputablePermissionsRequest.create({
    consistency: fullyConsistent, definitionName: "document", relationName: "owner",
  }));
console.log("owner decides", ...permissions.map((permission) => permission.relationName));
// [/computable]

// [dependent]
const { relations } = await client.experimentalDependentRelations(
  v1.ExperimentalDependentRelationsRequest.create({
    consistency: fullyConsistent, definitionName: "document", permissionName: "edit",
  }));
console.log("edit depends on", ...relations.map((relation) => relation.relationName));
// [/dependent]

// [diff]
const { diffs } = await client.experimentalDiffSchema(v1.ExperimentalDiffSchemaRequest.create({
  consistency: fullyConsistent, comparisonSchema: "definition user {}",
}));
console.log("differences", diffs.length);
// [/diff]
