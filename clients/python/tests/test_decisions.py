"""What a check says, as a decision."""
import unittest
from datetime import datetime, timezone

import stonetown
from google.protobuf.timestamp_pb2 import Timestamp
from stonetown import v1
from stonetown.names import object_ref, subject_ref
from fake import Fake


class Decisions(unittest.TestCase):
    def ask(self, answer, *question, **more):
        fake = self.enterContext(Fake(Check=answer))
        client = self.enterContext(stonetown.Client(fake.endpoint, "x"))
        return client.may(*(question or ("user:ann", "view", "document:plan")), **more), fake.calls[0].request

    def test_yes(self):
        until = datetime(2030, 1, 1, tzinfo=timezone.utc)
        answer = v1.CheckResponse(outcome=v1.OUTCOME_ALLOWED, token="t", until=Timestamp(seconds=int(until.timestamp())))
        decision, _ = self.ask(answer)
        self.assertTrue(decision)
        self.assertEqual((decision.reason, decision.until, decision.judged_at, decision.zedtoken), ("allowed", until, None, "t"))

    def test_only_an_outright_yes_is_one(self):
        conditional = v1.CheckResponse(outcome=v1.OUTCOME_CONDITIONAL, missing_context=["budget", "spent"])
        decision, _ = self.ask(conditional)
        self.assertFalse(decision)
        self.assertEqual((decision.reason, decision.missing_context), ("depends on budget, spent", ("budget", "spent")))
        for outcome in (v1.OUTCOME_DENIED, v1.OUTCOME_UNSPECIFIED, 77):
            decision, _ = self.ask(v1.CheckResponse(outcome=outcome))
            self.assertFalse(decision)
            self.assertEqual((decision.allowed, decision.reason), (False, "denied"))

    def test_a_no_says_what_can_be_asked_for(self):
        offer = v1.Requestable(template="scale", parameters={"cluster": "staging-1", "by": "one"})
        decision, _ = self.ask(v1.CheckResponse(outcome=v1.OUTCOME_DENIED, requestable=[offer]))
        self.assertEqual(decision.requestable, (offer,))
        self.assertEqual(decision.reason, "denied; can be asked for: scale(by=one, cluster=staging-1)")

    def test_a_question_names_everything(self):
        _, request = self.ask(v1.CheckResponse(), "group:eng#member", "scale", "cluster:staging-1",
                              context={"hour": 12, "ip": "10.0.0.1", "tags": ["a", {"b": None}]})
        self.assertEqual((request.subject.type, request.subject.id, request.subject.relation), ("group", "eng", "member"))
        self.assertEqual((request.resource.type, request.resource.id, request.permission), ("cluster", "staging-1", "scale"))
        self.assertEqual(request.context["hour"], 12)
        self.assertEqual(request.context["tags"][1]["b"], None)

    def test_a_chain_names_who_acts_the_nearest_first(self):
        _, request = self.ask(v1.CheckResponse(), chain=["agent:planner", v1.ObjectRef(type="agent", id="fixer")])
        self.assertEqual([(actor.type, actor.id) for actor in request.chain], [("agent", "planner"), ("agent", "fixer")])
        _, request = self.ask(v1.CheckResponse())
        self.assertEqual(len(request.chain), 0)
        with self.assertRaises(ValueError):
            self.ask(v1.CheckResponse(), chain=["group:eng#member"])

    def test_names(self):
        self.assertEqual(object_ref("document:a/b|c=d"), v1.ObjectRef(type="document", id="a/b|c=d"))
        self.assertEqual(subject_ref(v1.SubjectRef(type="user", id="a")), v1.SubjectRef(type="user", id="a"))
        for bad in ("", "user", "user:", ":ann", "user:ann#member"):
            with self.assertRaises(ValueError, msg=bad):
                object_ref(bad)
        for bad in ("", "user", "user:", ":ann", "user:ann#", "user:ann#a#b", "#a"):
            with self.assertRaises(ValueError, msg=bad):
                subject_ref(bad)


if __name__ == "__main__":
    unittest.main()
