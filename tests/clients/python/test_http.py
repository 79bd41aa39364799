"""HTTP/JSON with nothing but the standard library, against the server in STONETOWN_ENDPOINT; its OpenAPI document is held
against the specification."""
import json
import os
import pathlib
import unittest
import urllib.error
import urllib.request

from openapi_spec_validator import validate

BASE = f"http://{os.environ['STONETOWN_ENDPOINT']}"
TOKEN = os.environ["STONETOWN_TOKEN"]
SCHEMA = (pathlib.Path(__file__).parent.parent / "schema.zed").read_text()


def post(path, body, token=TOKEN):
    request = urllib.request.Request(
        BASE + path, json.dumps(body).encode(), {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def get(path):
    with urllib.request.urlopen(BASE + path) as answer:
        return json.load(answer)


def relationship(document, user):
    return {"resource": {"objectType": "document", "objectId": document}, "relation": "owner",
            "subject": {"object": {"objectType": "user", "objectId": user}}}


class Http(unittest.TestCase):
    def setUp(self):
        post("/v1/schema/write", {"schema": SCHEMA})
        for kind in ("group", "folder", "document"):
            post("/v1/relationships/delete", {"relationshipFilter": {"resourceType": kind}})

    def test_the_document_is_openapi(self):
        document = get("/openapi.json")
        validate(document)
        self.assertGreaterEqual(len(document["paths"]), 30)
        self.assertIn("bearer", json.dumps(document["components"]["securitySchemes"]))

    def test_writes_are_checked(self):
        written = json.loads(post("/v1/relationships/write", {"updates": [
            {"operation": "OPERATION_CREATE", "relationship": relationship("plan", "anna")}]}))
        question = {"consistency": {"atLeastAsFresh": written["writtenAt"]}, "permission": "view",
                    "resource": {"objectType": "document", "objectId": "plan"},
                    "subject": {"object": {"objectType": "user", "objectId": "anna"}}}
        self.assertEqual(json.loads(post("/v1/permissions/check", question))["permissionship"],
                         "PERMISSIONSHIP_HAS_PERMISSION")

    def test_streams_are_lines(self):
        post("/v1/relationships/write", {"updates": [
            {"operation": "OPERATION_TOUCH", "relationship": relationship(document, "anna")} for document in "abc"]})
        found = post("/v1/relationships/read", {
            "consistency": {"fullyConsistent": True}, "relationshipFilter": {"resourceType": "document"}})
        lines = [json.loads(line) for line in found.splitlines()]
        self.assertEqual([line["result"]["relationship"]["resource"]["objectId"] for line in lines], ["a", "b", "c"])

    def test_errors_say_why(self):
        for token, code in ((TOKEN, 400), ("not-a-key", 403)):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                post("/v1/schema/write", {"schema": "definition {"}, token)
            self.assertEqual(caught.exception.code, code)
            self.assertIn("message", json.load(caught.exception))

    def test_health(self):
        self.assertEqual(get("/healthz"), {"status": "SERVING"})
        self.assertEqual(get("/readyz"), {"status": "SERVING"})


if __name__ == "__main__":
    unittest.main()
