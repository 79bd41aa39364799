"""The client against a real server: STONETOWN_ENDPOINT and STONETOWN_TOKEN, STONETOWN_BIN for what it has no call for, and
STONETOWN_TLS_ENDPOINT with STONETOWN_TLS_CA and STONETOWN_TLS_TOKEN for a second one that speaks TLS."""
import contextlib
import io
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
from datetime import datetime, timedelta, timezone

import stonetown
from stonetown import v1

HERE = pathlib.Path(__file__).parent
README = (HERE.parent / "README.md").read_text()
OTHER_AUTHORITY = HERE.parent.parent.parent / "tests" / "fixtures" / "authority.pem"
SCHEMA = """
use expiration

caveat within_budget(spent int, budget int) {
  spent < budget
}

definition agent {}
definition container {
  relation restarter: agent
  permission restart = restarter
}
definition cluster {
  relation scaler: agent with expiration | agent with within_budget
  permission scale = scaler
}
"""


def stonetown_cli(*arguments):
    printed = subprocess.run([os.environ["STONETOWN_BIN"], *arguments], check=True, capture_output=True, text=True).stdout
    return printed.strip()


def with_schema():
    with tempfile.NamedTemporaryFile("w", suffix=".zed") as schema:
        schema.write(SCHEMA)
        schema.flush()
        stonetown_cli("schema", "write", schema.name)


@unittest.skipUnless("STONETOWN_ENDPOINT" in os.environ, "no server: STONETOWN_ENDPOINT")
class Server(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with_schema()
        stonetown_cli("relationship", "touch", "container:staging-1", "restarter", "agent:fixer")
        cls.client = cls.enterClassContext(stonetown.Client.from_env())

    def test_answers(self):
        yes = self.client.may("agent:fixer", "restart", "container:staging-1")
        self.assertTrue(yes)
        self.assertLess(abs(yes.judged_at - datetime.now(timezone.utc)), timedelta(minutes=1))
        self.assertFalse(self.client.may("agent:fixer", "restart", "container:production-1"))

    def test_a_condition_names_what_it_lacks(self):
        stonetown_cli("relationship", "touch", "cluster:c1", "scaler", "agent:fixer", "--caveat", 'within_budget:{"budget": 10}')
        ask = lambda **context: self.client.may("agent:fixer", "scale", "cluster:c1", context=context)
        self.assertEqual((ask().allowed, ask().missing_context), (False, ("spent",)))
        self.assertTrue(ask(spent=3))
        self.assertFalse(ask(spent=11))

    def test_a_write_elsewhere_is_seen_by_its_token(self):
        with stonetown.Client.from_env() as client:
            client.may("agent:fixer", "restart", "container:staging-1")
            first = client.zedtoken
            stonetown_cli("relationship", "touch", "container:staging-2", "restarter", "agent:fixer")
            self.assertTrue(client.may("agent:fixer", "restart", "container:staging-2"))
            self.assertNotEqual(client.zedtoken, first)
            # The state before is still there for who asks for it.
            answer = client.decision.check(v1.CheckRequest(
                resource=v1.ObjectRef(type="container", id="staging-2"), permission="restart",
                subject=v1.SubjectRef(type="agent", id="fixer"), freshness=v1.Freshness(at_exactly=first)))
            self.assertEqual(answer.outcome, v1.OUTCOME_DENIED)

    def test_what_the_client_writes_is_seen(self):
        with stonetown.Client.from_env() as client:
            written = client.relationships.write(v1.WriteRelationshipsRequest(updates=[v1.RelationshipUpdate(
                operation=v1.RelationshipUpdate.OPERATION_TOUCH, relationship=v1.Relationship(
                    resource=v1.ObjectRef(type="container", id="staging-3"), relation="restarter",
                    subject=v1.SubjectRef(type="agent", id="fixer")))]))
            self.assertEqual(client.zedtoken, written.token)
            self.assertTrue(client.may("agent:fixer", "restart", "container:staging-3"))
            found = client.relationships.list(v1.ListRelationshipsRequest(resource_type="container", resource_id="staging-3"))
            self.assertEqual([row.relationship.subject.id for row in found], ["fixer"])

    def test_reasons(self):
        with self.assertRaises(stonetown.FailedPrecondition) as caught:
            self.client.may("agent:fixer", "restart", "cat:tom")
        self.assertIs(caught.exception.reason, stonetown.Reason.UNKNOWN_DEFINITION)
        self.assertEqual(caught.exception.metadata, {"definition_name": "cat"})
        self.assertTrue(caught.exception.request_id)
        with self.assertRaises(stonetown.OutOfRange):
            self.client.may("agent:fixer", "restart", "container:staging-1", at=datetime.now(timezone.utc) + timedelta(days=1))

    def test_a_wrong_token_is_refused(self):
        with stonetown.Client(os.environ["STONETOWN_ENDPOINT"], "wrong") as client:
            with self.assertRaises((stonetown.Unauthenticated, stonetown.PermissionDenied)):
                client.may("agent:fixer", "restart", "container:staging-1")

    def test_a_stream_ends_with_what_it_was_for(self):
        *_, last = self.client.admin.scrub(v1.ScrubRequest())
        self.assertEqual(list(last.report.differences), [])

    def test_readme(self):
        programs = re.findall(r"```python\n(.*?)```", README, re.S)
        self.assertEqual(len(programs), 2)
        scope = {"ADDRESS": (os.environ["STONETOWN_ENDPOINT"], os.environ["STONETOWN_TOKEN"])}
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            for program in programs:
                exec(program.replace('"127.0.0.1:50051", "somekey"', "*ADDRESS"), scope)
        scope["client"].close()
        lines = printed.getvalue().splitlines()
        self.assertEqual(lines[:2], ["allowed", "not without asking"])
        self.assertGreater(int(lines[2]), 0)

    def test_tls(self):
        endpoint, token, ca = (os.environ[f"STONETOWN_TLS_{name}"] for name in ("ENDPOINT", "TOKEN", "CA"))
        with stonetown.Client(endpoint, token, ca=ca) as client:
            self.assertIn("TLS", repr(client))
            self.assertTrue(client.admin.get_info(v1.GetInfoRequest()).instance)
        # Another authority than the certificate's, and plain text to a server that wants none.
        for more in ({"ca": OTHER_AUTHORITY}, {"insecure": True}):
            with stonetown.Client(endpoint, token, timeout=2, **more) as client:
                with self.assertRaises((stonetown.Unavailable, stonetown.DeadlineExceeded)):
                    client.admin.get_info(v1.GetInfoRequest())


if __name__ == "__main__":
    unittest.main()
