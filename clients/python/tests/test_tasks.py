"""Access that is asked for within a task, and given back."""
import unittest
from datetime import datetime, timedelta, timezone

import grpc

import stonetown
from stonetown import v1
from fake import UNAVAILABLE, Fake, Refusal

PENDING = v1.Grant(id="g1", template="scale", state=v1.GRANT_STATE_PENDING)
ACTIVE = v1.Grant(id="g1", template="scale", state=v1.GRANT_STATE_APPROVED, active=True)
LATER = v1.Grant(id="g1", template="scale", state=v1.GRANT_STATE_APPROVED)


def asked(grant):
    return v1.RequestGrantResponse(grant=grant)


def looked(grant):
    return v1.GetGrantResponse(grant=grant)


class Tasks(unittest.TestCase):
    def serve(self, **answers):
        fake = self.enterContext(Fake(**{"CompleteTask": v1.CompleteTaskResponse(ended=1), **answers}))
        return fake, self.enterContext(stonetown.Client(fake.endpoint, "x"))

    def test_asks_waits_and_gives_back(self):
        fake, client = self.serve(RequestGrant=asked(PENDING))
        fake.turns["GetGrant"] = [looked(PENDING), looked(LATER), looked(ACTIVE)]
        with client.task("deploy-81") as task:
            grant = task.grant("scale", {"cluster": "staging-1"}, reason="queue is full", ttl=timedelta(minutes=30))
            self.assertTrue(grant.active)
        self.assertEqual(fake.names(), ["RequestGrant", "GetGrant", "GetGrant", "GetGrant", "CompleteTask"])
        request = fake.calls[0].request
        self.assertEqual((request.template, dict(request.parameters), request.task, request.reason, request.ttl.seconds),
                         ("scale", {"cluster": "staging-1"}, "deploy-81", "queue is full", 1800))
        self.assertEqual(fake.calls[-1].request.task, "deploy-81")

    def test_takes_what_a_denial_offered(self):
        fake, client = self.serve(RequestGrant=asked(ACTIVE))
        offer = v1.Requestable(template="scale", parameters={"cluster": "staging-1"})
        with client.task() as task:
            task.grant(offer)
            with self.assertRaises(ValueError):
                task.grant(offer, {"cluster": "production-1"})
        request = fake.calls[0].request
        self.assertEqual((request.template, dict(request.parameters)), ("scale", {"cluster": "staging-1"}))
        self.assertTrue(request.task.startswith("task-"))
        self.assertFalse(request.HasField("ttl"))

    def test_a_grant_may_begin_later(self):
        fake, client = self.serve(RequestGrant=asked(ACTIVE))
        at = datetime(2030, 1, 1, tzinfo=timezone.utc)
        client.task("t").grant("scale", starts_at=at)
        self.assertEqual(fake.calls[0].request.starts_at.ToDatetime(timezone.utc), at)
        with self.assertRaises(ValueError):
            client.task("t").grant("scale", starts_at=datetime(2030, 1, 1))

    def test_a_no_ends_the_wait_and_the_task(self):
        for state in (v1.GRANT_STATE_DENIED, v1.GRANT_STATE_CANCELLED, v1.GRANT_STATE_EXPIRED, v1.GRANT_STATE_REVOKED,
                      v1.GRANT_STATE_FAILED, v1.GRANT_STATE_UNSPECIFIED):
            fake, client = self.serve(
                RequestGrant=asked(PENDING),
                GetGrant=looked(v1.Grant(id="g1", template="scale", state=state, because="too wide")))
            with self.assertRaises(stonetown.GrantNotGiven) as caught, client.task("t") as task:
                task.grant("scale")
            self.assertNotIsInstance(caught.exception, stonetown.GrantPending)
            self.assertEqual(caught.exception.grant.state, state)
            self.assertIn("too wide", str(caught.exception))
            self.assertEqual(fake.names()[-1], "CompleteTask")

    def test_a_wait_has_an_end_and_takes_the_request_back(self):
        fake, client = self.serve(RequestGrant=asked(PENDING), GetGrant=looked(PENDING))
        with self.assertRaises(stonetown.GrantPending), client.task("t") as task:
            task.grant("scale", wait=0.3)
        self.assertEqual(fake.names()[-1], "CompleteTask")
        self.assertLess(len(fake.calls), 6)
        with self.assertRaises(TimeoutError):
            client.wait_for_grant("g1", wait=0)

    def test_a_wait_goes_on_while_the_server_is_away(self):
        fake, client = self.serve(RequestGrant=asked(PENDING), GetGrant=looked(ACTIVE))
        fake.turns["GetGrant"] = [UNAVAILABLE] * 5
        self.assertTrue(client.task("t").grant("scale").active)

    def test_the_task_s_own_failure_is_what_is_told(self):
        fake, client = self.serve(CompleteTask=Refusal(grpc.StatusCode.INTERNAL, "broken"))
        with self.assertRaises(KeyError) as caught, client.task("t"):
            raise KeyError("mine")
        if hasattr(caught.exception, "__notes__"):
            self.assertIn("broken", caught.exception.__notes__[0])
        with self.assertRaises(stonetown.Internal), client.task("t"):
            pass

    def test_a_wait_for_a_grant_of_another(self):
        fake, client = self.serve()
        fake.turns["GetGrant"] = [looked(PENDING), looked(ACTIVE)]
        self.assertTrue(client.wait_for_grant("g1").active)
        self.assertEqual([call.request.id for call in fake.calls], ["g1", "g1"])


if __name__ == "__main__":
    unittest.main()
