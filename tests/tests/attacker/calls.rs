//! Every call of every service: which powers open it, and a request in which each name stands behind a `$`. A call that is not
//! here fails the tests: whoever adds one says here who may make it.

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// Whoever holds one of these powers. Those with `@` are over a type or a relation, the others over the default store, and
    /// `operator` over the server.
    By(&'static [&'static str]),
    /// Everybody, and shows nothing but what is the caller's own.
    Own,
}

use Opened::{By, Own};

const CHECK: Opened = By(&["checker@type", "checker", "admin", "operator"]);
const LIST: Opened = By(&["lister@type", "lister"]);
const WRITE: Opened = By(&["writer@relation", "writer"]);
const REVOKE: Opened = By(&["writer@relation", "revoker@relation", "writer", "revoker"]);
const READ_SCHEMA: Opened = By(&["reader", "author", "checker", "lister", "admin", "operator"]);
const WRITE_SCHEMA: Opened = By(&["author", "admin", "operator"]);
const ADMIN: Opened = By(&["admin", "operator"]);
const AUDIT: Opened = By(&["auditor"]);
const SERVER: Opened = By(&["operator"]);
/// By more than one power, or by what a caller is to the very thing.
const NOBODY: Opened = By(&[]);

/// The powers that the tests give, one at a time; the mightiest last, as it takes away what the others need.
pub(crate) const POWERS: [&str; 14] = [
    "checker@type",
    "lister@type",
    "writer@relation",
    "revoker@relation",
    "checker",
    "lister",
    "writer",
    "revoker",
    "reader",
    "auditor",
    "chain_asserter",
    "author",
    "admin",
    "operator",
];

/// A call: its method, who may make it, its name in the log of decisions, a request.
pub(crate) type Row = (&'static str, Opened, &'static str, &'static str);

const RESOURCE: &str = r#""resource":{"objectType":"$type","objectId":"$object"}"#;
const SUBJECT: &str = r#""subject":{"object":{"objectType":"agent","objectId":"$subject"}}"#;

/// The request of a row with its parts put together.
pub(crate) fn request(row: &Row) -> String {
    let relationship = "{RESOURCE,\"relation\":\"$relation\",SUBJECT}";
    let question = "RESOURCE,\"permission\":\"$permission\",SUBJECT";
    let text = row.3.replace("RELATIONSHIP", relationship).replace("QUESTION", question);
    text.replace("RESOURCE", RESOURCE).replace("SUBJECT", SUBJECT)
}

pub(crate) const CALLS: &[Row] = &[
    ("authzed.api.v1.PermissionsService/CheckPermission", CHECK, "check", "{QUESTION}"),
    ("authzed.api.v1.PermissionsService/CheckPermission", LIST_AND_CHECK, "check", r#"{QUESTION,"withTracing":true}"#),
    ("authzed.api.v1.PermissionsService/CheckBulkPermissions", CHECK, "check_bulk", r#"{"items":[{QUESTION}]}"#),
    (
        "authzed.api.v1.PermissionsService/CheckBulkPermissions",
        LIST_AND_CHECK,
        "check_bulk",
        r#"{"items":[{QUESTION}],"withTracing":true}"#,
    ),
    (
        "authzed.api.v1.PermissionsService/CheckBulkPermissions",
        By(&["checker", "admin", "operator"]),
        "check_bulk",
        "{}",
    ),
    (
        "authzed.api.v1.PermissionsService/ReadRelationships",
        LIST,
        "read",
        r#"{"relationshipFilter":{"resourceType":"$type","optionalResourceId":"$object"}}"#,
    ),
    (
        "authzed.api.v1.PermissionsService/WriteRelationships",
        WRITE,
        "write",
        r#"{"updates":[{"operation":"OPERATION_TOUCH","relationship":RELATIONSHIP}]}"#,
    ),
    ("authzed.api.v1.PermissionsService/WriteRelationships", By(&["writer"]), "write", "{}"),
    (
        "authzed.api.v1.PermissionsService/WriteRelationships",
        NOBODY,
        "write",
        r#"{"updates":[{"operation":"OPERATION_TOUCH","relationship":RELATIONSHIP}],
            "optionalPreconditions":[{"operation":"OPERATION_MUST_MATCH","filter":{"resourceType":"$type"}}]}"#,
    ),
    (
        "authzed.api.v1.PermissionsService/DeleteRelationships",
        REVOKE,
        "delete",
        r#"{"relationshipFilter":{"resourceType":"$type","optionalResourceId":"$object","optionalRelation":"$relation",
            "optionalSubjectFilter":{"subjectType":"agent","optionalSubjectId":"nobody"}}}"#,
    ),
    (
        "authzed.api.v1.PermissionsService/ExpandPermissionTree",
        LIST,
        "expand",
        r#"{RESOURCE,"permission":"$permission"}"#,
    ),
    (
        "authzed.api.v1.PermissionsService/LookupResources",
        LIST,
        "lookup_resources",
        r#"{"resourceObjectType":"$type","permission":"$permission",SUBJECT}"#,
    ),
    (
        "authzed.api.v1.PermissionsService/LookupSubjects",
        LIST,
        "lookup_subjects",
        r#"{RESOURCE,"permission":"$permission","subjectObjectType":"agent"}"#,
    ),
    (
        "authzed.api.v1.PermissionsService/ImportBulkRelationships",
        WRITE,
        "import",
        r#"{"relationships":[RELATIONSHIP]}"#,
    ),
    ("authzed.api.v1.PermissionsService/ImportBulkRelationships", By(&["writer"]), "import", "{}"),
    (
        "authzed.api.v1.PermissionsService/ExportBulkRelationships",
        LIST,
        "export",
        r#"{"optionalRelationshipFilter":{"resourceType":"$type"}}"#,
    ),
    ("authzed.api.v1.PermissionsService/ExportBulkRelationships", By(&["lister"]), "export", "{}"),
    ("authzed.api.v1.SchemaService/ReadSchema", READ_SCHEMA, "read_schema", "{}"),
    ("authzed.api.v1.SchemaService/WriteSchema", WRITE_SCHEMA, "write_schema", r#"{"schema":"$schema"}"#),
    ("authzed.api.v1.SchemaService/ReflectSchema", READ_SCHEMA, "reflect_schema", "{}"),
    (
        "authzed.api.v1.SchemaService/ComputablePermissions",
        READ_SCHEMA,
        "computable_permissions",
        r#"{"definitionName":"$type","relationName":"$relation"}"#,
    ),
    (
        "authzed.api.v1.SchemaService/DependentRelations",
        READ_SCHEMA,
        "dependent_relations",
        r#"{"definitionName":"$type","permissionName":"$permission"}"#,
    ),
    ("authzed.api.v1.SchemaService/DiffSchema", READ_SCHEMA, "diff_schema", r#"{"comparisonSchema":"$schema"}"#),
    ("authzed.api.v1.WatchService/Watch", LIST, "watch", r#"{"optionalObjectTypes":["$type"]}"#),
    ("authzed.api.v1.WatchService/Watch", By(&["lister"]), "watch", "{}"),
    (
        "authzed.api.v1.ExperimentalService/BulkImportRelationships",
        WRITE,
        "import",
        r#"{"relationships":[RELATIONSHIP]}"#,
    ),
    (
        "authzed.api.v1.ExperimentalService/BulkExportRelationships",
        LIST,
        "export",
        r#"{"optionalRelationshipFilter":{"resourceType":"$type"}}"#,
    ),
    ("authzed.api.v1.ExperimentalService/BulkCheckPermission", CHECK, "check_bulk", r#"{"items":[{QUESTION}]}"#),
    ("authzed.api.v1.ExperimentalService/ExperimentalReflectSchema", READ_SCHEMA, "reflect_schema", "{}"),
    (
        "authzed.api.v1.ExperimentalService/ExperimentalComputablePermissions",
        READ_SCHEMA,
        "computable_permissions",
        r#"{"definitionName":"$type","relationName":"$relation"}"#,
    ),
    (
        "authzed.api.v1.ExperimentalService/ExperimentalDependentRelations",
        READ_SCHEMA,
        "dependent_relations",
        r#"{"definitionName":"$type","permissionName":"$permission"}"#,
    ),
    (
        "authzed.api.v1.ExperimentalService/ExperimentalDiffSchema",
        READ_SCHEMA,
        "diff_schema",
        r#"{"comparisonSchema":"$schema"}"#,
    ),
    (
        "authzed.api.v1.ExperimentalService/ExperimentalRegisterRelationshipCounter",
        NOBODY,
        "register_counter",
        r#"{"name":"$counter","relationshipFilter":{"resourceType":"$type"}}"#,
    ),
    (
        "authzed.api.v1.ExperimentalService/ExperimentalCountRelationships",
        ADMIN,
        "read_counter",
        r#"{"name":"$counter"}"#,
    ),
    (
        "authzed.api.v1.ExperimentalService/ExperimentalUnregisterRelationshipCounter",
        ADMIN,
        "unregister_counter",
        r#"{"name":"$counter"}"#,
    ),
    (
        "authzed.api.materialize.v0.RelationshipsService/ExperimentalCountRelationshipsByFilter",
        LIST,
        "count",
        r#"{"relationshipFilter":{"resourceType":"$type"}}"#,
    ),
    (
        "authzed.api.materialize.v0.WatchPermissionsService/WatchPermissions",
        LIST,
        "follow_permissions",
        r#"{"permissions":[{"resourceType":"$type","permission":"$permission","subjectType":"agent"}]}"#,
    ),
    ("authzed.api.materialize.v0.WatchPermissionSetsService/WatchPermissionSets", LIST, "follow_sets", "{}"),
    (
        "authzed.api.materialize.v0.WatchPermissionSetsService/LookupPermissionSets",
        LIST,
        "lookup_permission_sets",
        "{}",
    ),
    (
        "authzed.api.materialize.v0.WatchPermissionSetsService/DownloadPermissionSets",
        LIST,
        "download_permission_sets",
        "{}",
    ),
    (
        "stonetown.v1.DecisionService/Check",
        CHECK,
        "check",
        r#"{"resource":{"type":"$type","id":"$object"},"permission":"$permission","subject":{"type":"agent","id":"$subject"}}"#,
    ),
    (
        "stonetown.v1.DecisionService/Check",
        LIST_AND_CHECK,
        "explain",
        r#"{"resource":{"type":"$type","id":"$object"},"permission":"$permission",
            "subject":{"type":"agent","id":"$subject"},"explain":true}"#,
    ),
    (
        "stonetown.v1.DecisionService/Explain",
        LIST_AND_CHECK,
        "explain",
        r#"{"resource":{"type":"$type","id":"$object"},"permission":"$permission","subject":{"type":"agent","id":"$subject"}}"#,
    ),
    // Reading the log, and seeing what it was about.
    ("stonetown.v1.DecisionService/Explain", NOBODY, "explain_decision", r#"{"decision":"4000000000"}"#),
    (
        "stonetown.v1.DecisionService/WhoCan",
        LIST,
        "who_can",
        r#"{"resource":{"type":"$type","id":"$object"},"permission":"$permission","withPath":true}"#,
    ),
    (
        "stonetown.v1.DecisionService/WhoCan",
        LIST,
        "who_can",
        r#"{"resource":{"type":"$type","id":"$object"},"permission":"$permission","groups":"GROUPS_AS_NAMED"}"#,
    ),
    (
        "stonetown.v1.DecisionService/WhatCan",
        LIST,
        "what_can",
        r#"{"subject":{"type":"agent","id":"$subject"},"resourceType":"$type","permission":"$permission","withPath":true}"#,
    ),
    (
        "stonetown.v1.DecisionService/WhatCan",
        By(&["lister"]),
        "what_can",
        r#"{"subject":{"type":"agent","id":"$subject"}}"#,
    ),
    (
        "stonetown.v1.AttributesService/Put",
        By(&["writer"]),
        "put_attributes",
        r#"{"attributes":[{"object":{"type":"$type","id":"$object"},"name":"env","value":"staging"}]}"#,
    ),
    (
        "stonetown.v1.AttributesService/Delete",
        By(&["writer", "revoker"]),
        "delete_attributes",
        r#"{"object":{"type":"$type","id":"$object"},"names":["env"]}"#,
    ),
    ("stonetown.v1.AttributesService/List", By(&["lister"]), "list_attributes", r#"{"objectType":"$type"}"#),
    (
        "stonetown.v1.RelationshipsService/Write",
        WRITE,
        "write",
        r#"{"updates":[{"operation":"OPERATION_TOUCH","relationship":{"resource":{"type":"$type","id":"$object"},
            "relation":"$relation","subject":{"type":"agent","id":"$subject"}}}]}"#,
    ),
    ("stonetown.v1.RelationshipsService/List", LIST, "list_relationships", r#"{"resourceType":"$type"}"#),
    ("stonetown.v1.AuditService/SearchRecords", AUDIT, "search_records", r#"{"subject":"agent:$subject"}"#),
    ("stonetown.v1.AuditService/GetCheckpoint", AUDIT, "get_checkpoint", "{}"),
    ("stonetown.v1.AuditService/ProveRecord", AUDIT, "prove_record", r#"{"index":"0"}"#),
    ("stonetown.v1.AuditService/ProveGrowth", AUDIT, "prove_growth", r#"{"size":"1","log":"LOG_KIND_CHANGES"}"#),
    (
        "stonetown.v1.AuditService/EraseFields",
        NOBODY,
        "erase_fields",
        r#"{"object":"agent:$subject","why":{"reason":"asked"}}"#,
    ),
    ("stonetown.v1.AdminService/GetInfo", Own, "get_info", "{}"),
    ("stonetown.v1.AdminService/Checkpoint", SERVER, "checkpoint", r#"{"name":"$checkpoint"}"#),
    ("stonetown.v1.AdminService/Scrub", SERVER, "scrub", "{}"),
    (
        "stonetown.v1.GrantService/PutTemplate",
        ADMIN,
        "put_template",
        r#"{"template":{"name":"$template","edges":["document:${thing}#viewer@${beneficiary}"],"parameters":{"thing":{}},
            "ttlMax":"600s","stages":[{"name":"one","approvers":["sys/principal:voter"],"need":1,"timeout":"600s"}],
            "owner":"key-1","requesters":["sys/principal:asker"]}}"#,
    ),
    ("stonetown.v1.GrantService/ListTemplates", Own, "list_templates", "{}"),
    (
        "stonetown.v1.GrantService/RequestGrant",
        NOBODY,
        "request_grant",
        r#"{"template":"$template","parameters":{"thing":"$object"}}"#,
    ),
    (
        "stonetown.v1.GrantService/RequestGrant",
        NOBODY,
        "request_grant",
        r#"{"template":"$template","beneficiary":"$principal","parameters":{"thing":"$object"}}"#,
    ),
    ("stonetown.v1.GrantService/DecideGrant", NOBODY, "decide_grant", r#"{"id":"$grant","approve":true}"#),
    ("stonetown.v1.GrantService/RevokeGrant", NOBODY, "revoke_grant", r#"{"id":"$grant"}"#),
    ("stonetown.v1.GrantService/CompleteTask", Own, "complete_task", r#"{"task":"$task"}"#),
    ("stonetown.v1.GrantService/ReviewGrant", NOBODY, "review_grant", r#"{"id":"$grant"}"#),
    ("stonetown.v1.GrantService/GetGrant", By(&["auditor", "admin", "operator"]), "get_grant", r#"{"id":"$grant"}"#),
    ("stonetown.v1.GrantService/ListGrants", Own, "list_grants", r#"{"task":"$task","requester":"asker"}"#),
    ("stonetown.v1.GrantService/WatchGrants", Own, "watch_grants", "{}"),
    (
        "stonetown.v1.GrantService/FindTemplates",
        Own,
        "find_templates",
        r#"{"type":"$type","id":"$object","permission":"$permission"}"#,
    ),
    ("stonetown.v1.GrantService/DeleteTemplate", ADMIN, "delete_template", r#"{"name":"$template"}"#),
    (
        "stonetown.v1.PrincipalService/CreatePrincipal",
        SERVER,
        "create_principal",
        r#"{"principal":{"id":"$principal","kind":"PRINCIPAL_KIND_HUMAN"}}"#,
    ),
    (
        "stonetown.v1.PrincipalService/UpdatePrincipal",
        SERVER,
        "update_principal",
        r#"{"principal":{"id":"$principal","kind":"PRINCIPAL_KIND_HUMAN"}}"#,
    ),
    ("stonetown.v1.PrincipalService/GetPrincipal", SERVER, "get_principal", r#"{"id":"$principal"}"#),
    ("stonetown.v1.PrincipalService/ListPrincipals", SERVER, "list_principals", "{}"),
    ("stonetown.v1.PrincipalService/QuarantinePrincipal", SERVER, "quarantine_principal", r#"{"id":"$principal"}"#),
    ("stonetown.v1.PrincipalService/ReleasePrincipal", SERVER, "release_principal", r#"{"id":"$principal"}"#),
    ("stonetown.v1.PrincipalService/IssueCredential", SERVER, "issue_credential", r#"{"principal":"$principal"}"#),
    ("stonetown.v1.PrincipalService/RotateCredential", SERVER, "rotate_credential", r#"{"id":"$credential"}"#),
    ("stonetown.v1.PrincipalService/RevokeCredential", SERVER, "revoke_credential", r#"{"id":"$credential"}"#),
    ("stonetown.v1.PrincipalService/RevokeCredential", SERVER, "revoke_credential", r#"{"allOf":"$principal"}"#),
    ("stonetown.v1.PrincipalService/ListCredentials", SERVER, "list_credentials", r#"{"principal":"$principal"}"#),
    (
        "stonetown.v1.PrincipalService/GivePower",
        SERVER,
        "give_power",
        r#"{"holder":{"principal":"$principal"},"power":{"name":"checker","store":{"store":"$store"}}}"#,
    ),
    (
        "stonetown.v1.PrincipalService/GivePower",
        SERVER,
        "give_power",
        r#"{"holder":{"principal":"$principal"},"power":{"name":"member","group":"$group"}}"#,
    ),
    (
        "stonetown.v1.PrincipalService/TakePower",
        SERVER,
        "take_power",
        r#"{"holder":{"principal":"$principal"},"power":{"name":"checker","store":{"store":"$store"}}}"#,
    ),
    ("stonetown.v1.PrincipalService/ListPowers", SERVER, "list_powers", r#"{"principal":"$principal"}"#),
    (
        "stonetown.v1.PrincipalService/ReplaceSubject",
        NOBODY,
        "replace_subject",
        r#"{"store":"$store","from":{"type":"agent","id":"$subject"},"to":{"type":"agent","id":"heir"}}"#,
    ),
    (
        "stonetown.v1.PrincipalService/Delegate",
        SERVER,
        "delegate",
        r#"{"principal":"$principal","actor":"voter","types":["*"],"permissions":["*"]}"#,
    ),
    ("stonetown.v1.PrincipalService/ListDelegations", SERVER, "list_delegations", r#"{"principal":"$principal"}"#),
    ("stonetown.v1.PrincipalService/Undelegate", SERVER, "undelegate", r#"{"principal":"$principal","actor":"voter"}"#),
    ("stonetown.v1.PrincipalService/WhoAmI", Own, "who_am_i", "{}"),
    (
        "stonetown.v1.PrincipalService/RetirePrincipal",
        SERVER,
        "retire_principal",
        r#"{"id":"$principal","dryRun":true}"#,
    ),
    ("stonetown.v1.StoreService/CreateStore", SERVER, "create_store", r#"{"name":"$store"}"#),
    ("stonetown.v1.StoreService/ListStores", SERVER, "list_stores", "{}"),
    ("stonetown.v1.StoreService/SetQuota", SERVER, "set_quota", r#"{"name":"$store","quota":{"callsMax":9}}"#),
    ("stonetown.v1.StoreService/DeleteStore", SERVER, "delete_store", r#"{"name":"$store"}"#),
];

/// A trace shows what an expansion would: it takes both powers.
const LIST_AND_CHECK: Opened = NOBODY;
