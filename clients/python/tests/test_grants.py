"""An agent's task against a real server, told with the client alone: who calls, what can be asked for, a vote, and the end."""
import os
import threading
import time
import unittest
from datetime import timedelta

import stonetown
from google.protobuf.duration_pb2 import Duration
from stonetown import v1
from test_server import with_schema

ENDPOINT = os.environ.get("STONETOWN_ENDPOINT")
QUESTION = ("agent:fixer", "scale", "cluster:main")


@unittest.skipUnless(ENDPOINT, "no server: STONETOWN_ENDPOINT")
class Grants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with_schema()
        cls.admin = cls.enterClassContext(stonetown.Client.from_env())
        cls.principal("ada", v1.PRINCIPAL_KIND_HUMAN)
        cls.principal("sam", v1.PRINCIPAL_KIND_HUMAN)
        cls.principal("fixer", v1.PRINCIPAL_KIND_AGENT, owner=v1.Holder(principal="ada"),
                      subjects=[v1.StandIn(subject=v1.ObjectRef(type="agent", id="fixer"))])
        # An agent that asks about itself is told what it could ask for.
        cls.admin.principal.give_power(v1.GivePowerRequest(
            holder=v1.Holder(principal="fixer"), power=v1.Power(name="checker", store=v1.PowerOverStore())))
        me = cls.admin.principal.who_am_i(v1.WhoAmIRequest()).principal.id
        cls.admin.grant.put_template(v1.PutTemplateRequest(template=v1.Template(
            name="scale", edges=["cluster:${cluster}#scaler@${beneficiary}"], answers=["cluster:${cluster}#scale"],
            parameters={"cluster": v1.TemplateParameter(one_of=["main"])}, ttl_max=Duration(seconds=900), total_max=Duration(seconds=900), owner=me,
            stages=[v1.TemplateStage(name="sre", approvers=["sys/principal:sam"], need=1, timeout=Duration(seconds=60))],
            requesters=["sys/principal:fixer"])))
        cls.fixer, cls.sam = cls.caller("fixer"), cls.caller("sam")

    @classmethod
    def principal(cls, id, kind, **more):
        cls.admin.principal.create_principal(v1.CreatePrincipalRequest(principal=v1.Principal(id=id, kind=kind, **more)))

    @classmethod
    def caller(cls, id):
        token = cls.admin.principal.issue_credential(v1.IssueCredentialRequest(principal=id)).token
        return cls.enterClassContext(stonetown.Client(ENDPOINT, token))

    def decide(self, approve):
        """Sam votes on what waits for a vote."""
        def vote():
            until = time.monotonic() + 60
            while not (waiting := self.sam.grant.list_grants(v1.ListGrantsRequest(inbox=True)).grants):
                if time.monotonic() > until:
                    return
                time.sleep(0.05)
            self.sam.grant.decide_grant(v1.DecideGrantRequest(id=waiting[0].id, approve=approve, comment="not now"))
        voter = threading.Thread(target=vote)
        voter.start()
        self.addCleanup(voter.join)

    def test_a_task_has_its_access_until_it_ends(self):
        denied = self.fixer.may(*QUESTION)
        self.assertFalse(denied)
        self.assertEqual(denied.reason, "denied; can be asked for: scale(cluster=main)")
        self.decide(approve=True)
        with self.fixer.task("deploy-81") as task:
            grant = task.grant(denied.requestable[0], reason="the queue is full", ttl=timedelta(minutes=5), wait=60)
            self.assertEqual((grant.state, grant.task), (v1.GRANT_STATE_APPROVED, "deploy-81"))
            allowed = self.fixer.may(*QUESTION)
            self.assertTrue(allowed)
            self.assertIsNotNone(allowed.until)
        self.assertFalse(self.fixer.may(*QUESTION))
        ended = self.fixer.grant.get_grant(v1.GetGrantRequest(id=grant.id)).grant
        self.assertFalse(ended.active)

    def test_a_no_is_told(self):
        self.decide(approve=False)
        with self.assertRaises(stonetown.GrantNotGiven) as caught, self.fixer.task() as task:
            task.grant("scale", {"cluster": "main"}, wait=60)
        self.assertEqual(caught.exception.grant.state, v1.GRANT_STATE_DENIED)
        self.assertFalse(self.fixer.may(*QUESTION))

    def test_what_nobody_decides_is_taken_back(self):
        with self.assertRaises(stonetown.GrantPending) as caught, self.fixer.task() as task:
            task.grant("scale", {"cluster": "main"}, wait=0.3)
        taken = self.fixer.grant.get_grant(v1.GetGrantRequest(id=caught.exception.grant.id)).grant
        self.assertEqual(taken.state, v1.GRANT_STATE_CANCELLED)

    def test_a_template_is_asked_for_by_whom_it_is_for(self):
        with self.assertRaises(stonetown.Error) as caught, self.sam.task() as task:
            task.grant("scale", {"cluster": "main"})
        self.assertIsInstance(caught.exception, (stonetown.PermissionDenied, stonetown.NotFound))


if __name__ == "__main__":
    unittest.main()
