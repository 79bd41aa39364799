"""What every call of the client has: deadline, token, state, repetition, errors."""
import logging
import os
import unittest
from datetime import datetime, timezone
from unittest import mock

import grpc

import stonetown
from stonetown import v1
from fake import UNAVAILABLE, Fake, Refusal

YES = v1.CheckResponse(outcome=v1.OUTCOME_ALLOWED, token="t1")
QUESTION = ("user:ann", "view", "document:plan")
SECRET = "secret-0815"


class Calls(unittest.TestCase):
    def serve(self, token=SECRET, timeout=10.0, **answers):
        fake = self.enterContext(Fake(**answers))
        return fake, self.enterContext(stonetown.Client(fake.endpoint, token, timeout=timeout))

    def test_a_call_has_the_token_and_a_deadline(self):
        fake, client = self.serve(Check=YES)
        client.may(*QUESTION)
        client.may(*QUESTION, timeout=3)
        first, second = fake.calls
        self.assertEqual(first.metadata["authorization"], f"Bearer {SECRET}")
        self.assertTrue(5 < first.seconds_left < 11, first.seconds_left)
        self.assertTrue(second.seconds_left < 4, second.seconds_left)

    def test_a_call_is_in_the_store_of_the_client(self):
        fake, _ = self.serve(Check=YES, WatchGrants=[])
        for store in ("tenant-7", None):
            with stonetown.Client(fake.endpoint, SECRET, store=store) as client:
                client.may(*QUESTION)
                list(client.grant.watch_grants(v1.WatchGrantsRequest()))
        self.assertEqual([call.metadata.get("stonetown-store") for call in fake.calls], ["tenant-7"] * 2 + [None] * 2)
        for name in ("", "Tenant", "7up", "a b", "x" * 64, "a\n"):
            with self.assertRaises(ValueError, msg=name):
                stonetown.Client(fake.endpoint, SECRET, store=name)

    def test_a_deadline_ends_a_call(self):
        import time
        _, client = self.serve(timeout=0.2, Check=lambda _: time.sleep(1) or YES)
        with self.assertRaises(stonetown.DeadlineExceeded):
            client.may(*QUESTION)

    def test_a_stream_has_no_deadline_unless_told(self):
        fake, client = self.serve(WatchGrants=[v1.WatchGrantsResponse(token="1"), v1.WatchGrantsResponse(token="2")])
        seen = [answer.token for answer in client.grant.watch_grants(v1.WatchGrantsRequest())]
        self.assertEqual(seen, ["1", "2"])
        self.assertGreater(fake.calls[0].seconds_left, 1e9)
        list(client.grant.watch_grants(v1.WatchGrantsRequest(), timeout=5))
        self.assertTrue(fake.calls[1].seconds_left < 6)

    def test_a_token_may_be_renewed(self):
        tokens = iter(["one", "two"])
        fake, client = self.serve(token=lambda: next(tokens), Check=YES)
        client.may(*QUESTION)
        client.may(*QUESTION)
        self.assertEqual([call.metadata["authorization"] for call in fake.calls], ["Bearer one", "Bearer two"])

    def test_reads_are_repeated_while_the_server_is_away(self):
        fake, client = self.serve(Check=YES)
        fake.turns["Check"] = [UNAVAILABLE, UNAVAILABLE]
        self.assertTrue(client.may(*QUESTION))
        self.assertEqual(len(fake.calls), 3)
        fake.turns["Check"] = [UNAVAILABLE] * 4
        with self.assertRaises(stonetown.Unavailable):
            client.may(*QUESTION)

    def test_nothing_else_is_repeated(self):
        fake, client = self.serve(Check=YES, PutTemplate=UNAVAILABLE, DecideGrant=UNAVAILABLE)
        for call, request in ((client.grant.put_template, v1.PutTemplateRequest()),
                              (client.grant.decide_grant, v1.DecideGrantRequest())):
            with self.assertRaises(stonetown.Unavailable):
                call(request)
        self.assertEqual(fake.names(), ["PutTemplate", "DecideGrant"])
        fake.turns["Check"] = [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")]
        with self.assertRaises(stonetown.ResourceExhausted):
            client.may(*QUESTION)
        self.assertEqual(len(fake.calls), 3)

    def test_a_request_that_is_repeated_is_one_request(self):
        fake, client = self.serve(RequestGrant=v1.RequestGrantResponse())
        fake.turns["RequestGrant"] = [UNAVAILABLE]
        request = v1.RequestGrantRequest(template="scale")
        client.grant.request_grant(request)
        keys = [call.request.idempotency_key for call in fake.calls]
        self.assertEqual(len(keys), 2)
        self.assertTrue(keys[0] and keys[0] == keys[1], keys)
        self.assertEqual(request.idempotency_key, "", "the caller's request was changed")
        client.grant.request_grant(request)
        self.assertNotEqual(fake.calls[2].request.idempotency_key, keys[0])
        client.grant.request_grant(v1.RequestGrantRequest(idempotency_key="mine"))
        self.assertEqual(fake.calls[3].request.idempotency_key, "mine")

    def test_answers_are_no_older_than_what_was_seen(self):
        fake, client = self.serve(Check=YES)
        client.may(*QUESTION)
        client.may(*QUESTION)
        self.assertFalse(fake.calls[0].request.HasField("freshness"))
        self.assertEqual(fake.calls[1].request.freshness.at_least, "t1")
        client.zedtoken = "written-elsewhere"
        client.may(*QUESTION)
        self.assertEqual(fake.calls[2].request.freshness.at_least, "written-elsewhere")

    def test_a_look_at_the_past_does_not_become_the_present(self):
        fake, client = self.serve(Check=YES)
        client.zedtoken = "new"
        fake.turns["Check"] = [v1.CheckResponse(outcome=v1.OUTCOME_ALLOWED, token="old")]
        at = datetime(2026, 1, 2, tzinfo=timezone.utc)
        client.may(*QUESTION, at=at)
        self.assertEqual(fake.calls[0].request.freshness.at.ToDatetime(timezone.utc), at)
        self.assertEqual(client.zedtoken, "new")
        with self.assertRaises(ValueError):
            client.may(*QUESTION, at=datetime(2026, 1, 2))

    def test_the_token_of_something_else_is_no_state(self):
        _, client = self.serve(WatchGrants=[v1.WatchGrantsResponse(token="1")],
                               IssueCredential=v1.IssueCredentialResponse(token=SECRET))
        list(client.grant.watch_grants(v1.WatchGrantsRequest()))
        client.principal.issue_credential(v1.IssueCredentialRequest())
        self.assertIsNone(client.zedtoken)

    def test_an_error_says_code_reason_and_values(self):
        _, client = self.serve(Check=Refusal(
            grpc.StatusCode.FAILED_PRECONDITION, "object definition `cat` not found", "ERROR_REASON_UNKNOWN_DEFINITION",
            {"definition_name": "cat"}))
        with self.assertRaises(stonetown.FailedPrecondition) as caught:
            client.may(*QUESTION)
        error = caught.exception
        self.assertIs(error.reason, stonetown.Reason.UNKNOWN_DEFINITION)
        self.assertEqual((error.code, error.metadata, error.request_id),
                         (grpc.StatusCode.FAILED_PRECONDITION, {"definition_name": "cat"}, "request-7"))
        self.assertEqual(str(error), "object definition `cat` not found (FAILED_PRECONDITION, UNKNOWN_DEFINITION)")

    def test_an_error_of_a_newer_server_is_an_error_too(self):
        _, client = self.serve(Check=Refusal(grpc.StatusCode.NOT_FOUND, "gone", "ERROR_REASON_FROM_THE_FUTURE"),
                               ListGrants=Refusal(grpc.StatusCode.DATA_LOSS, "plain"))
        with self.assertRaises(stonetown.NotFound) as caught:
            client.may(*QUESTION)
        self.assertEqual(caught.exception.reason, "FROM_THE_FUTURE")
        with self.assertRaises(stonetown.Error) as caught:
            client.grant.list_grants(v1.ListGrantsRequest())
        self.assertIsNone(caught.exception.reason)

    def test_each_code_has_its_error(self):
        fake, client = self.serve()
        for code in grpc.StatusCode:
            if code in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS):
                continue
            fake.answers["ListTemplates"] = Refusal(code, "no")
            with self.assertRaises(stonetown.Error) as caught:
                client.grant.list_templates(v1.ListTemplatesRequest())
            name = "".join(word.capitalize() for word in code.name.split("_"))
            self.assertEqual(type(caught.exception).__name__, name)

    def test_no_secret_is_shown(self):
        fake, client = self.serve(Check=Refusal(grpc.StatusCode.UNAUTHENTICATED, "who are you?"))
        shown = [repr(client), str(client), repr(client._calls), repr(client._endpoint)]
        with self.assertRaises(stonetown.Unauthenticated) as caught, self.assertLogs(level=logging.DEBUG) as logs:
            logging.debug("something")
            client.may(*QUESTION)
        shown += [repr(caught.exception), str(caught.exception), *logs.output]
        for token in (f"{SECRET}\n", f" {SECRET}", f"{SECRET}é", ""):
            with self.assertRaises(ValueError) as caught:
                stonetown.Client(fake.endpoint, token).may(*QUESTION)
            shown += [str(caught.exception)]
        for text in shown:
            self.assertNotIn(SECRET, text)
        self.assertIn(fake.endpoint, repr(client))

    def test_the_variables_of_the_command_line(self):
        fake = self.enterContext(Fake(Check=YES))
        env = {"STONETOWN_ENDPOINT": fake.endpoint, "STONETOWN_TOKEN": "from-env", "STONETOWN_STORE": "tenant-7"}
        with mock.patch.dict(os.environ, env, clear=True), stonetown.Client.from_env() as client:
            client.may(*QUESTION)
        self.assertEqual(fake.calls[0].metadata["authorization"], "Bearer from-env")
        self.assertEqual(fake.calls[0].metadata["stonetown-store"], "tenant-7")


class Endpoints(unittest.TestCase):
    def test_plain_text_is_for_this_machine_and_where_it_is_asked_for(self):
        def plain(endpoint, **more):
            return "plain text" in repr(stonetown.Client(endpoint, "x", **more))
        for local in ("localhost:50051", "127.0.0.1:1", "127.8.8.8:1", "[::1]:50051"):
            self.assertTrue(plain(local), local)
        for remote in ("example.com:50051", "10.0.0.1:50051", "localhost.example.com:1", "127.0.0.1.example.com:1",
                       "128.0.0.1:1", "0.0.0.0:1", "[::]:1", "[::ffff:10.0.0.1]:1"):
            self.assertFalse(plain(remote), remote)
            self.assertTrue(plain(remote, insecure=True), remote)

    def test_what_is_no_address(self):
        for bad in ("", "example.com", "example.com:", ":50051", "http://example.com:1", "a:b", "a:0", "a:65536",
                    "dns:///a:1", "unix:/tmp/x", "a b:1", "a:1\n"):
            with self.assertRaises(ValueError, msg=bad):
                stonetown.Client(bad, "x")
        for more in ({"ca": b"pem", "insecure": True}, {"certificate": ("cert", "key"), "insecure": True}, {"ca": b"no PEM"},
                     {"certificate": (__file__, __file__)}):
            with self.assertRaises(ValueError, msg=more):
                stonetown.Client("example.com:1", "x", **more)


if __name__ == "__main__":
    unittest.main()
