"""What the test suites of client libraries expect of the server in STONETOWN_TESTING_ENDPOINT: a store for each token."""
import asyncio
import os
import unittest
import uuid

import grpc
import grpcutil
from authzed.api import v1
from authzed.api.v1 import permission_service_pb2

ENDPOINT = os.environ.get("STONETOWN_TESTING_ENDPOINT")
READONLY = os.environ.get("STONETOWN_TESTING_READONLY_ENDPOINT")
SCHEMA = """
caveat likes_harry_potter(likes bool) {
  likes == true
}

definition post {
  relation writer: user
  relation reader: user
  relation caveated_reader: user with likes_harry_potter

  permission write = writer
  permission view = reader + writer
  permission view_as_fan = caveated_reader + writer
}

definition user {}
"""
HAS = v1.CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION
NO = v1.CheckPermissionResponse.PERMISSIONSHIP_NO_PERMISSION
FULL = v1.Consistency(fully_consistent=True)


def subject(name):
    return v1.SubjectReference(object=v1.ObjectReference(object_type="user", object_id=name))


def post(name):
    return v1.ObjectReference(object_type="post", object_id=name)


def relationship(resource, relation, who):
    return v1.Relationship(resource=post(resource), relation=relation, subject=subject(who))


def write(*relationships):
    return v1.WriteRelationshipsRequest(updates=[
        v1.RelationshipUpdate(operation=v1.RelationshipUpdate.OPERATION_CREATE, relationship=r) for r in relationships])


def check(resource, permission, who):
    return v1.CheckPermissionRequest(
        consistency=FULL, resource=post(resource), permission=permission, subject=subject(who))


@unittest.skipUnless(ENDPOINT, "no server for test suites")
class ServeTesting(unittest.TestCase):
    def client(self, token=None, endpoint=ENDPOINT):
        return v1.InsecureClient(endpoint, token or f"token-{uuid.uuid4()}")

    def refused(self, code, call, request):
        with self.assertRaises(grpc.RpcError) as caught:
            call(request)
        self.assertEqual(caught.exception.code(), code)

    def test_a_new_token_has_no_schema(self):
        self.refused(grpc.StatusCode.NOT_FOUND, self.client().ReadSchema, v1.ReadSchemaRequest())

    def test_stores_are_apart(self):
        one, other = self.client(), self.client()
        for client in (one, other):
            client.WriteSchema(v1.WriteSchemaRequest(schema=SCHEMA))
        one.WriteRelationships(write(relationship("p1", "writer", "emilia")))
        self.assertEqual(one.CheckPermission(check("p1", "write", "emilia")).permissionship, HAS)
        self.assertEqual(other.CheckPermission(check("p1", "write", "emilia")).permissionship, NO)
        # The same relationship again, in another store, is not a second one.
        other.WriteRelationships(write(relationship("p1", "writer", "emilia")))

    def test_a_store_is_the_same_from_another_connection(self):
        token = f"shared-{uuid.uuid4()}"
        self.client(token).WriteSchema(v1.WriteSchemaRequest(schema=SCHEMA))
        self.client(token).WriteRelationships(write(relationship("p1", "reader", "beatrice")))
        self.assertEqual(self.client(token).CheckPermission(check("p1", "view", "beatrice")).permissionship, HAS)

    def test_the_read_only_port_shows_the_same_store_and_takes_no_writes(self):
        token = f"readonly-{uuid.uuid4()}"
        self.client(token).WriteSchema(v1.WriteSchemaRequest(schema=SCHEMA))
        self.client(token).WriteRelationships(write(relationship("p1", "reader", "beatrice")))
        reader = self.client(token, READONLY)
        self.assertEqual(reader.CheckPermission(check("p1", "view", "beatrice")).permissionship, HAS)
        self.refused(grpc.StatusCode.UNAVAILABLE, reader.WriteSchema, v1.WriteSchemaRequest(schema=SCHEMA))
        self.refused(grpc.StatusCode.UNAVAILABLE, reader.WriteRelationships, write(relationship("p2", "reader", "ann")))
        self.client(token).WriteRelationships(write(relationship("p2", "reader", "ann")))
        self.assertEqual(reader.CheckPermission(check("p2", "view", "ann")).permissionship, HAS)

    def test_the_calls_of_a_suite_in_a_store(self):
        client = self.client()
        client.WriteSchema(v1.WriteSchemaRequest(schema=SCHEMA))
        fan = relationship("p1", "caveated_reader", "beatrice")
        fan.optional_caveat.caveat_name = "likes_harry_potter"
        fan.optional_caveat.context.update({"likes": True})
        written = client.WriteRelationships(write(
            relationship("p1", "writer", "emilia"), relationship("p2", "writer", "emilia"),
            relationship("p1", "reader", "beatrice"), fan))
        fresh = v1.Consistency(at_least_as_fresh=written.written_at)
        self.assertEqual(client.CheckPermission(check("p1", "view_as_fan", "beatrice")).permissionship, HAS)
        resources = client.LookupResources(v1.LookupResourcesRequest(
            consistency=fresh, resource_object_type="post", permission="write", subject=subject("emilia")))
        self.assertEqual({r.resource_object_id for r in resources}, {"p1", "p2"})
        subjects = client.LookupSubjects(v1.LookupSubjectsRequest(
            consistency=fresh, resource=post("p1"), permission="view", subject_object_type="user"))
        self.assertEqual({s.subject.subject_object_id for s in subjects}, {"emilia", "beatrice"})
        pairs = client.CheckBulkPermissions(v1.CheckBulkPermissionsRequest(consistency=fresh, items=[
            v1.CheckBulkPermissionsRequestItem(resource=post("p1"), permission="view", subject=subject(who))
            for who in ("emilia", "nobody")])).pairs
        self.assertEqual([pair.item.permissionship for pair in pairs], [HAS, NO])

    def test_bulk_import_and_export(self):
        client = self.client()
        client.WriteSchema(v1.WriteSchemaRequest(schema=SCHEMA))
        batches = (permission_service_pb2.ImportBulkRelationshipsRequest(relationships=[
            relationship(f"p{batch}-{n}", "writer", "emilia") for n in range(20)]) for batch in range(10))
        self.assertEqual(client.ImportBulkRelationships(batches).num_loaded, 200)
        exported = [r for batch in client.ExportBulkRelationships(
            permission_service_pb2.ExportBulkRelationshipsRequest(consistency=FULL)) for r in batch.relationships]
        self.assertEqual(len(exported), 200)

    def test_the_asynchronous_client(self):
        async def suite():
            client = v1.AsyncClient(ENDPOINT, grpcutil.insecure_bearer_token_credentials(f"async-{uuid.uuid4()}"))
            await client.WriteSchema(v1.WriteSchemaRequest(schema=SCHEMA))
            await client.WriteRelationships(write(relationship("p1", "writer", "emilia")))
            return (await client.CheckPermission(check("p1", "view", "emilia"))).permissionship
        self.assertEqual(asyncio.run(suite()), HAS)


if __name__ == "__main__":
    unittest.main()
