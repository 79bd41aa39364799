"""What a program that uses the unmodified `authzed` package relies on, against the server in STONETOWN_ENDPOINT."""
import datetime
import os
import pathlib
import unittest

import grpc
import grpcutil
from authzed.api import v1
from authzed.api.v1 import permission_service_pb2
from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2, status_pb2

ENDPOINT = os.environ["STONETOWN_ENDPOINT"]
TOKEN = os.environ["STONETOWN_TOKEN"]
SCHEMA = (pathlib.Path(__file__).parent.parent / "schema.zed").read_text()

FULL = v1.Consistency(fully_consistent=True)
HAS = v1.CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION
NO = v1.CheckPermissionResponse.PERMISSIONSHIP_NO_PERMISSION
CONDITIONAL = v1.CheckPermissionResponse.PERMISSIONSHIP_CONDITIONAL_PERMISSION
TOUCH = v1.RelationshipUpdate.OPERATION_TOUCH
CREATE = v1.RelationshipUpdate.OPERATION_CREATE
DELETE = v1.RelationshipUpdate.OPERATION_DELETE


def obj(text):
    kind, _, name = text.partition(":")
    return v1.ObjectReference(object_type=kind, object_id=name)


def subject(text):
    reference, _, relation = text.partition("#")
    return v1.SubjectReference(object=obj(reference), optional_relation=relation)


def struct(values):
    context = Struct()
    context.update(values)
    return context


def rel(text, caveat=None, context=None, expires=None):
    """`document:d#owner@user:u`, with what follows it in the text form as arguments."""
    resource, _, who = text.partition("@")
    resource, _, relation = resource.partition("#")
    relationship = v1.Relationship(resource=obj(resource), relation=relation, subject=subject(who))
    if caveat:
        relationship.optional_caveat.caveat_name = caveat
        relationship.optional_caveat.context.update(context or {})
    if expires:
        relationship.optional_expires_at.FromDatetime(expires)
    return relationship


def text(relationship):
    who = relationship.subject
    suffix = f"#{who.optional_relation}" if who.optional_relation else ""
    return (f"{relationship.resource.object_type}:{relationship.resource.object_id}#{relationship.relation}"
            f"@{who.object.object_type}:{who.object.object_id}{suffix}")


def error_info(error):
    """The one ErrorInfo that an error carries, or None."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info
    return None


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = v1.InsecureClient(ENDPOINT, TOKEN)

    def setUp(self):
        self.client.WriteSchema(v1.WriteSchemaRequest(schema=SCHEMA))
        for kind in ("group", "folder", "document"):
            self.client.DeleteRelationships(v1.DeleteRelationshipsRequest(
                relationship_filter=v1.RelationshipFilter(resource_type=kind)))

    def write(self, *relationships, operation=TOUCH, **more):
        updates = [v1.RelationshipUpdate(operation=operation, relationship=r if isinstance(r, v1.Relationship) else rel(r))
                   for r in relationships]
        return self.client.WriteRelationships(v1.WriteRelationshipsRequest(updates=updates, **more)).written_at

    def check(self, resource, permission, who, context=None, consistency=FULL):
        return self.client.CheckPermission(v1.CheckPermissionRequest(
            consistency=consistency, resource=obj(resource), permission=permission, subject=subject(who),
            context=struct(context) if context else None))

    def read(self, consistency=FULL, **filter):
        return [text(row.relationship) for row in self.client.ReadRelationships(v1.ReadRelationshipsRequest(
            consistency=consistency, relationship_filter=v1.RelationshipFilter(**filter)))]

    def refused(self, code, reason, call, *args, **kwargs):
        with self.assertRaises(grpc.RpcError) as caught:
            result = call(*args, **kwargs)
            if hasattr(result, "__iter__"):
                list(result)
        self.assertEqual(caught.exception.code(), code)
        info = error_info(caught.exception)
        self.assertEqual(info.reason if info else None, f"ERROR_REASON_{reason}" if reason else None)
        if info:
            self.assertEqual(info.domain, "authzed.com")
            return dict(info.metadata)


class Schema(ClientTest):
    def test_reads_back_what_was_written(self):
        read = self.client.ReadSchema(v1.ReadSchemaRequest())
        self.assertIn("definition document", read.schema_text)
        self.assertIn("document is what the suites ask about.", read.schema_text)
        self.client.WriteSchema(v1.WriteSchemaRequest(schema=read.schema_text))
        self.assertEqual(self.client.ReadSchema(v1.ReadSchemaRequest()).schema_text, read.schema_text)

    def test_reflects_definitions_and_caveats(self):
        reflected = self.client.ReflectSchema(v1.ReflectSchemaRequest(consistency=FULL))
        self.assertEqual({d.name for d in reflected.definitions}, {"user", "agent", "group", "folder", "document"})
        document = next(d for d in reflected.definitions if d.name == "document")
        self.assertEqual({p.name for p in document.permissions}, {"edit", "view"})
        self.assertEqual({p.name: p.type for p in reflected.caveats[0].parameters}, {"spent": "int", "budget": "int"})

    def test_syntax_error_says_where(self):
        metadata = self.refused(grpc.StatusCode.INVALID_ARGUMENT, "SCHEMA_PARSE_ERROR", self.client.WriteSchema,
                                v1.WriteSchemaRequest(schema="definition user {}\ndefinition document {\n  relation\n}"))
        self.assertIn(metadata["start_line_number"], ("2", "3"))

    def test_type_error(self):
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "SCHEMA_TYPE_ERROR", self.client.WriteSchema,
                     v1.WriteSchemaRequest(schema="definition document {\n  relation owner: nobody\n}"))

    def test_relationships_stand_in_the_way(self):
        self.write("document:d#owner@user:anna")
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "SCHEMA_TYPE_ERROR", self.client.WriteSchema,
                     v1.WriteSchemaRequest(schema=SCHEMA.replace("\trelation owner: user\n", "").replace("owner + ", "")))
        self.assertEqual(self.check("document:d", "view", "user:anna").permissionship, HAS)


class Writes(ClientTest):
    def test_create_touch_delete(self):
        self.write("document:d#owner@user:anna", operation=CREATE)
        metadata = self.refused(grpc.StatusCode.ALREADY_EXISTS, "ATTEMPT_TO_RECREATE_RELATIONSHIP",
                                self.write, "document:e#owner@user:anna", "document:d#owner@user:anna", operation=CREATE)
        self.assertEqual(metadata["resource_object_id"], "d")
        self.write("document:d#owner@user:anna")
        self.assertEqual(self.read(resource_type="document"), ["document:d#owner@user:anna"])
        self.write("document:d#owner@user:anna", operation=DELETE)
        self.write("document:d#owner@user:anna", operation=DELETE)
        self.assertEqual(self.read(resource_type="document"), [])

    def test_preconditions(self):
        self.write("document:d#owner@user:anna")
        def precondition(operation, who):
            return [v1.Precondition(operation=operation, filter=v1.RelationshipFilter(
                resource_type="document", optional_resource_id="d", optional_relation="owner",
                optional_subject_filter=v1.SubjectFilter(subject_type="user", optional_subject_id=who)))]
        must, must_not = v1.Precondition.OPERATION_MUST_MATCH, v1.Precondition.OPERATION_MUST_NOT_MATCH
        self.write("document:d#banned@user:bert", optional_preconditions=precondition(must, "anna"))
        metadata = self.refused(grpc.StatusCode.FAILED_PRECONDITION, "WRITE_OR_DELETE_PRECONDITION_FAILURE", self.write,
                                "document:d#banned@user:cleo", optional_preconditions=precondition(must, "nobody"))
        self.assertEqual(metadata["precondition_subject_id"], "nobody")
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "WRITE_OR_DELETE_PRECONDITION_FAILURE", self.write,
                     "document:d#banned@user:cleo", optional_preconditions=precondition(must_not, "anna"))
        self.assertEqual(self.read(resource_type="document", optional_relation="banned"), ["document:d#banned@user:bert"])

    def test_delete_by_filter_with_limit(self):
        self.write(*(f"document:d{n}#owner@user:anna" for n in range(5)))
        request = v1.DeleteRelationshipsRequest(relationship_filter=v1.RelationshipFilter(resource_type="document"),
                                                optional_limit=2)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_RELATIONSHIPS_FOR_TRANSACTIONAL_DELETE",
                     self.client.DeleteRelationships, request)
        request.optional_allow_partial_deletions = True
        done = []
        while not done or done[-1].deletion_progress == v1.DeleteRelationshipsResponse.DELETION_PROGRESS_PARTIAL:
            done.append(self.client.DeleteRelationships(request))
        self.assertEqual([r.relationships_deleted_count for r in done], [2, 2, 1])
        self.assertEqual(self.read(resource_type="document"), [])

    def test_refused_updates_change_nothing(self):
        good = "document:d#owner@user:anna"
        for code, reason, bad in (
                (grpc.StatusCode.FAILED_PRECONDITION, "UNKNOWN_DEFINITION", "nothing:d#owner@user:anna"),
                (grpc.StatusCode.FAILED_PRECONDITION, "UNKNOWN_RELATION_OR_PERMISSION", "document:d#nothing@user:anna"),
                (grpc.StatusCode.INVALID_ARGUMENT, "CANNOT_UPDATE_PERMISSION", "document:d#view@user:anna"),
                (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SUBJECT_TYPE", "document:d#owner@group:g#member"),
                (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SUBJECT_TYPE", "document:d#editor@agent:a"),
                (grpc.StatusCode.INVALID_ARGUMENT, "UPDATES_ON_SAME_RELATIONSHIP", good),
                (grpc.StatusCode.INVALID_ARGUMENT, None, "document:not valid#owner@user:anna")):
            with self.subTest(bad):
                self.refused(code, reason, self.write, good, bad)
                self.assertEqual(self.read(resource_type="document"), [])

    def test_too_many_updates(self):
        metadata = self.refused(grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY_UPDATES_IN_REQUEST", self.write,
                                *(f"document:d{n}#owner@user:anna" for n in range(1001)))
        self.assertEqual(metadata, {"update_count": "1001", "maximum_updates_allowed": "1000"})


class Checks(ClientTest):
    def test_has_and_has_not(self):
        self.write("group:all#member@group:staff#member", "group:staff#member@user:anna", "folder:f#viewer@group:all#member",
                   "document:d#parent@folder:f", "document:e#parent@folder:f", "document:e#banned@user:anna")
        self.assertEqual(self.check("document:d", "view", "user:anna").permissionship, HAS)
        self.assertEqual(self.check("document:e", "view", "user:anna").permissionship, NO)
        self.assertEqual(self.check("document:d", "view", "group:staff#member").permissionship, HAS)
        self.assertEqual(self.check("document:nowhere", "view", "user:nobody").permissionship, NO)

    def test_wildcard(self):
        self.write("folder:f#viewer@user:*", "document:d#parent@folder:f", "document:d#banned@user:bert")
        self.assertEqual(self.check("document:d", "view", "user:anyone").permissionship, HAS)
        self.assertEqual(self.check("document:d", "view", "user:bert").permissionship, NO)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "WILDCARD_NOT_ALLOWED", self.check, "document:d", "view", "user:*")

    def test_conditional_until_the_context_is_complete(self):
        self.write(rel("document:d#editor@agent:a", "within_budget", {"budget": 10}))
        unknown = self.check("document:d", "edit", "agent:a")
        self.assertEqual(unknown.permissionship, CONDITIONAL)
        self.assertEqual(list(unknown.partial_caveat_info.missing_required_context), ["spent"])
        self.assertEqual(self.check("document:d", "edit", "agent:a", {"spent": 10}).permissionship, HAS)
        self.assertEqual(self.check("document:d", "edit", "agent:a", {"spent": 11}).permissionship, NO)
        # what was stored wins over what the request says
        self.assertEqual(self.check("document:d", "edit", "agent:a", {"spent": 11, "budget": 99}).permissionship, NO)

    def test_expired_is_gone(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        self.write(rel("document:d#editor@user:anna", expires=now + datetime.timedelta(hours=1)),
                   rel("document:d#editor@user:bert", expires=now - datetime.timedelta(hours=1)))
        self.assertEqual(self.check("document:d", "edit", "user:anna").permissionship, HAS)
        self.assertEqual(self.check("document:d", "edit", "user:bert").permissionship, NO)
        self.assertEqual(self.read(resource_type="document"), ["document:d#editor@user:anna"])

    def test_trace(self):
        self.write("document:d#owner@user:anna")
        response = self.client.CheckPermission(v1.CheckPermissionRequest(
            consistency=FULL, resource=obj("document:d"), permission="view", subject=subject("user:anna"), with_tracing=True))
        trace = response.debug_trace.check
        self.assertEqual((trace.resource.object_id, trace.permission), ("d", "view"))
        self.assertTrue(trace.sub_problems.traces)
        self.assertIn("definition document", response.debug_trace.schema_used)

    def test_bulk_answers_in_order(self):
        self.write("document:d#owner@user:anna", rel("document:d#editor@agent:a", "within_budget", {"budget": 1}))
        def item(permission, who):
            return v1.CheckBulkPermissionsRequestItem(resource=obj("document:d"), permission=permission, subject=subject(who))
        pairs = self.client.CheckBulkPermissions(v1.CheckBulkPermissionsRequest(consistency=FULL, items=[
            item("view", "user:anna"), item("view", "user:bert"), item("edit", "agent:a"), item("nothing", "user:anna"),
            item("view", "user:anna")])).pairs
        self.assertEqual([p.item.permissionship for p in pairs], [HAS, NO, CONDITIONAL, 0, HAS])
        self.assertEqual(pairs[3].error.code, grpc.StatusCode.FAILED_PRECONDITION.value[0])
        self.assertEqual(pairs[2].request.subject.object.object_type, "agent")

    def test_unknown_names(self):
        metadata = self.refused(grpc.StatusCode.FAILED_PRECONDITION, "UNKNOWN_DEFINITION",
                                self.check, "nothing:d", "view", "user:anna")
        self.assertEqual(metadata, {"definition_name": "nothing"})
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, "UNKNOWN_RELATION_OR_PERMISSION",
                     self.check, "document:d", "nothing", "user:anna")


class Reads(ClientTest):
    def test_expand(self):
        self.write("document:d#owner@user:anna", "document:d#banned@user:bert")
        tree = self.client.ExpandPermissionTree(v1.ExpandPermissionTreeRequest(
            consistency=FULL, resource=obj("document:d"), permission="edit")).tree_root
        self.assertEqual((tree.expanded_object.object_id, tree.expanded_relation), ("d", "edit"))
        self.assertEqual(tree.intermediate.operation, v1.AlgebraicSubjectSet.OPERATION_EXCLUSION)
        self.assertEqual(len(tree.intermediate.children), 2)

    def test_lookup_resources_in_pages(self):
        self.write(*(f"document:d{n}#owner@user:anna" for n in range(7)), "document:d3#banned@user:anna")
        found, cursor = [], None
        while True:
            page = list(self.client.LookupResources(v1.LookupResourcesRequest(
                consistency=FULL, resource_object_type="document", permission="view", subject=subject("user:anna"),
                optional_limit=2, optional_cursor=cursor)))
            found += [row.resource_object_id for row in page]
            if len(page) < 2:
                break
            cursor = page[-1].after_result_cursor
        self.assertEqual(sorted(found), ["d0", "d1", "d2", "d4", "d5", "d6"])

    def test_lookup_resources_conditional(self):
        self.write(rel("document:d#editor@agent:a", "within_budget", {"budget": 10}))
        def found(context):
            return [(row.resource_object_id, row.permissionship) for row in self.client.LookupResources(
                v1.LookupResourcesRequest(consistency=FULL, resource_object_type="document", permission="edit",
                                          subject=subject("agent:a"), context=struct(context)))]
        self.assertEqual(found({}), [("d", 2)])
        self.assertEqual(found({"spent": 1}), [("d", 1)])
        self.assertEqual(found({"spent": 11}), [])

    def test_lookup_subjects(self):
        self.write("folder:f#viewer@user:*", "document:d#parent@folder:f", "document:d#banned@user:bert",
                   "document:d#owner@user:anna")
        rows = {row.subject.subject_object_id: sorted(s.subject_object_id for s in row.excluded_subjects)
                for row in self.client.LookupSubjects(v1.LookupSubjectsRequest(
                    consistency=FULL, resource=obj("document:d"), permission="view", subject_object_type="user"))}
        self.assertEqual(rows, {"anna": [], "*": ["bert"]})

    def test_read_in_pages(self):
        want = {f"document:d{n}#owner@user:anna" for n in range(5)}
        self.write(*want)
        found, cursor = [], None
        while True:
            page = list(self.client.ReadRelationships(v1.ReadRelationshipsRequest(
                consistency=FULL, relationship_filter=v1.RelationshipFilter(resource_type="document"),
                optional_limit=2, optional_cursor=cursor)))
            found += [text(row.relationship) for row in page]
            if len(page) < 2:
                break
            cursor = page[-1].after_result_cursor
        self.assertEqual((len(found), set(found)), (5, want))

    def test_read_by_subject_and_prefix(self):
        self.write("document:a1#owner@user:anna", "document:a2#owner@user:bert", "document:b1#owner@user:anna")
        self.assertEqual(self.read(resource_type="document", optional_resource_id_prefix="a",
                                   optional_subject_filter=v1.SubjectFilter(subject_type="user", optional_subject_id="anna")),
                         ["document:a1#owner@user:anna"])
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT", self.client.ReadRelationships,
                     v1.ReadRelationshipsRequest(relationship_filter=v1.RelationshipFilter(resource_type="document"),
                                                 optional_limit=1001))

    def test_import_and_export(self):
        want = {f"document:d{n}#owner@user:u{n % 7}" for n in range(2500)}
        batches = (import_request([rel(r) for r in chunk]) for chunk in chunks(sorted(want), 400))
        self.assertEqual(self.client.ImportBulkRelationships(batches).num_loaded, 2500)
        found, cursor = [], None
        while True:
            pages = list(self.client.ExportBulkRelationships(export_request(consistency=FULL, optional_limit=1000, optional_cursor=cursor)))
            found += [text(r) for page in pages for r in page.relationships]
            if not pages or not pages[-1].relationships:
                break
            cursor = pages[-1].after_result_cursor
        self.assertEqual((len(found), set(found)), (2500, want))
        self.refused(grpc.StatusCode.ALREADY_EXISTS, "ATTEMPT_TO_RECREATE_RELATIONSHIP", self.client.ImportBulkRelationships,
                     iter([import_request([rel("document:new#owner@user:anna"), rel("document:d1#owner@user:u1")])]))
        self.assertEqual(self.read(resource_type="document", optional_resource_id="new"), [])


class Consistency(ClientTest):
    def test_tokens(self):
        before = self.write("document:d#owner@user:anna")
        after = self.write("document:d#owner@user:anna", operation=DELETE)
        fresh = v1.Consistency(at_least_as_fresh=after)
        self.assertEqual(self.check("document:d", "view", "user:anna", consistency=fresh).permissionship, NO)
        exact = v1.Consistency(at_exact_snapshot=before)
        self.assertEqual(self.check("document:d", "view", "user:anna", consistency=exact).permissionship, HAS)
        self.assertEqual(self.read(consistency=exact, resource_type="document"), ["document:d#owner@user:anna"])
        quick = v1.Consistency(minimize_latency=True)
        self.assertEqual(self.check("document:d", "view", "user:bert", consistency=quick).permissionship, NO)

    def test_answers_carry_a_usable_token(self):
        self.write("document:d#owner@user:anna")
        checked_at = self.check("document:d", "view", "user:anna").checked_at
        self.write("document:d#owner@user:anna", operation=DELETE)
        exact = v1.Consistency(at_exact_snapshot=checked_at)
        self.assertEqual(self.check("document:d", "view", "user:anna", consistency=exact).permissionship, HAS)

    def test_unreadable_token(self):
        broken = v1.Consistency(at_least_as_fresh=v1.ZedToken(token="no token of ours"))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, None, self.check, "document:d", "view", "user:anna", consistency=broken)


class Bearers(unittest.TestCase):
    def test_unknown_key_is_denied(self):
        with self.assertRaises(grpc.RpcError) as caught:
            v1.InsecureClient(ENDPOINT, "not-" + TOKEN).ReadSchema(v1.ReadSchemaRequest())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)

    def test_missing_key_is_unauthenticated(self):
        with grpc.insecure_channel(ENDPOINT) as channel, self.assertRaises(grpc.RpcError) as caught:
            v1.SchemaServiceStub(channel).ReadSchema(v1.ReadSchemaRequest())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)


class AsyncClient(unittest.IsolatedAsyncioTestCase):
    async def test_the_client_for_asyncio(self):
        client = v1.AsyncClient(ENDPOINT, grpcutil.insecure_bearer_token_credentials(TOKEN))
        await client.WriteSchema(v1.WriteSchemaRequest(schema=SCHEMA))
        await client.WriteRelationships(v1.WriteRelationshipsRequest(updates=[
            v1.RelationshipUpdate(operation=TOUCH, relationship=rel("document:d#owner@user:anna"))]))
        found = [row.resource_object_id async for row in client.LookupResources(v1.LookupResourcesRequest(
            consistency=FULL, resource_object_type="document", permission="view", subject=subject("user:anna")))]
        self.assertIn("d", found)


def import_request(relationships):
    return permission_service_pb2.ImportBulkRelationshipsRequest(relationships=relationships)


def export_request(**fields):
    return permission_service_pb2.ExportBulkRelationshipsRequest(**fields)


def chunks(items, size):
    return (items[i:i + size] for i in range(0, len(items), size))


if __name__ == "__main__":
    unittest.main(verbosity=1)
