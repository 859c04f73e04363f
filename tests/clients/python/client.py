"""Drives a host with Azure's own Python client, with the starter JSON as standard input.

Every method is called as a function of an app would call it, and what it returns to its caller is checked.
"""
import asyncio
import json
import re
import sys
import time
import traceback
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

import azure.functions as func
from azure.durable_functions import DurableOrchestrationClient, EntityId, OrchestrationRuntimeStatus as Status

STARTER = sys.stdin.read()
BASE = json.loads(STARTER)["baseUrl"]
ORIGIN = BASE.split("/runtime/")[0]
CALLED = set()


class Noted(DurableOrchestrationClient):
    """Notes which methods are called; what the client calls by itself counts, too."""

    def __getattribute__(self, name):
        CALLED.add(name)
        return super().__getattribute__(name)


client = Noted(STARTER)
LINKS = ["statusQueryGetUri", "sendEventPostUri", "terminatePostUri", "rewindPostUri", "purgeHistoryDeleteUri",
         "restartPostUri", "suspendPostUri", "resumePostUri"]


async def eventually(what, ask):
    deadline = time.monotonic() + 120
    while True:
        answer = await ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        await asyncio.sleep(0.02)


async def becomes(instance_id, wanted):
    async def ask():
        status = await client.get_status(instance_id)
        return status if status.runtime_status == wanted else None
    return await eventually(f"{instance_id} becomes {wanted}", ask)


async def rejects(call, text):
    try:
        await call
    except Exception as error:
        assert text in str(error), f"{text!r} is not in {error!r}"
        return
    raise AssertionError(f"it should fail: {text}")


def send(method, url, body=None):
    headers = {"content-type": "application/json"} if body else {}
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def request(url=None):
    return func.HttpRequest(method="POST", url=url or f"{ORIGIN}/api/start?x=1", body=b"")


async def starts_with_and_without_an_id():
    made = await client.start_new("Noop")
    assert re.fullmatch("[0-9a-f]{32}", made), made
    assert await client.start_new("WaitForApproval", "started", {"x": 1.5}, version="2") == "started"
    await becomes("started", Status.Running)
    status = await client.get_status("started", show_input=True)
    # The client sends a JSON text within a JSON text; what it sent is kept as it was.
    assert json.loads(status.input_) == {"x": 1.5}, status.input_
    await becomes(made, Status.Completed)
    assert await client.start_new("Noop", made) == made


async def is_told_of_a_start_that_cannot_be():
    await client.start_new("WaitForApproval", "taken")
    await becomes("taken", Status.Running)
    await rejects(client.start_new("WaitForApproval", "taken"),
                  "An Orchestration instance with the status Running already exists.")
    await rejects(client.start_new("Nowhere"), "The function 'Nowhere' doesn't exist")
    await rejects(client.start_new("Noop", "@x"), "Orchestration instance ids must not start with @.")


async def reads_a_status_with_all_flags():
    await client.start_new("E1_HelloSequence", "flags", "in")
    await becomes("flags", Status.Completed)
    plain = await client.get_status("flags")
    assert (plain.name, plain.instance_id) == ("E1_HelloSequence", "flags")
    assert plain.output == ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]
    assert abs(datetime.now(timezone.utc) - plain.created_time) < timedelta(minutes=10)
    assert plain.last_updated_time >= plain.created_time
    assert plain.history is None and plain.custom_status is None
    full = await client.get_status("flags", show_history=True, show_history_output=True, show_input=True)
    kinds = [event["EventType"] for event in full.history]
    assert kinds == ["ExecutionStarted"] + 3 * ["TaskCompleted"] + ["ExecutionCompleted"], kinds
    assert full.history[1]["Result"] == "Hello Tokyo!" and full.history[1]["FunctionName"] == "E1_SayHello"
    assert full.historyEvents == full.history
    bare = await client.get_status("flags", show_history=True)
    assert "Result" not in bare.history[1]
    assert full.to_json()["runtimeStatus"] == "Completed"


async def tells_an_unknown_instance():
    status = await client.get_status("nobody")
    assert not status and status.runtime_status is None, "falsy: the samples' singletons test for it"


async def reads_a_failure_and_a_custom_status():
    await client.start_new("AlwaysFails", "failed")
    failed = await becomes("failed", Status.Failed)
    assert failed.output == "Orchestrator function 'AlwaysFails' failed: this orchestration always fails"
    await client.start_new("HandsOver", "sets")

    async def custom_status():
        return (await client.get_status("sets")).custom_status
    assert await eventually("a custom status", custom_status) == "set by the first"


async def lists_all_and_by_filters():
    before = datetime.now(timezone.utc) - timedelta(hours=1)
    later = datetime.now(timezone.utc) + timedelta(minutes=1)
    ids = [f"page-{n}" for n in range(130)]
    await asyncio.gather(*(client.start_new("Noop", instance_id) for instance_id in ids))
    for instance_id in ids:
        await becomes(instance_id, Status.Completed)
    # This client never asks for a second page.
    assert len(await client.get_status_all()) == 100
    listed = await client.get_status_by(before, later, [Status.Completed, Status.Failed], "page-12")
    assert sorted(status.instance_id for status in listed) == sorted(
        instance_id for instance_id in ids if instance_id.startswith("page-12"))
    assert await client.get_status_by(before, later, [Status.Running], "page-") == []
    assert await client.get_status_by(created_time_to=before) == []
    assert len(await client.get_status_by(instance_id_prefix="page-1")) == 41


async def raises_events():
    await client.start_new("WaitForApproval", "event")
    await client.raise_event("event", "Approval", {"yes": [1.5, None]}, "TestHubName", "Storage")
    completed = await becomes("event", Status.Completed)
    assert json.loads(completed.output) == {"yes": [1.5, None]}, completed.output
    await rejects(client.raise_event("event", "Approval", 1), "Instance with ID event is gone: either completed or failed")
    await rejects(client.raise_event("nobody", "Approval", 1), "No instance with ID nobody found.")
    await rejects(client.raise_event("event", ""), "event_name must be a non-empty string.")
    await client.start_new("WaitForApproval", "without")
    await client.raise_event("without", "Approval")
    assert (await becomes("without", Status.Completed)).output == "null"


async def terminates():
    await client.start_new("WaitForApproval", "terminated")
    await client.terminate("terminated", "it took too long & more")
    status = await client.get_status("terminated")
    assert (status.runtime_status, status.output) == (Status.Terminated, "it took too long & more")
    await client.terminate("terminated", "again")
    await rejects(client.terminate("nobody", "x"), "No instance with ID 'nobody' found.")


async def suspends_and_resumes():
    await client.start_new("WaitForApproval", "held")
    await becomes("held", Status.Running)
    await client.suspend("held", "look first")
    assert (await client.get_status("held")).runtime_status == Status.Suspended
    await rejects(client.suspend("held", "x"), "The operation failed with an unexpected status code 409")
    await client.resume("held", "go on")
    await becomes("held", Status.Running)
    await rejects(client.resume("held", "x"), "The operation failed with an unexpected status code 409")
    await client.terminate("held", "done")
    await client.suspend("held", "x")
    await client.resume("held", "x")
    for method in [client.suspend, client.resume]:
        await rejects(method("nobody", "x"), "No instance with ID 'nobody' found.")


async def rewinds():
    await client.start_new("AlwaysFails", "rewound")
    await becomes("rewound", Status.Failed)
    await client.rewind("rewound", "once more")
    await becomes("rewound", Status.Failed)
    await rejects(client.rewind("nobody", "x"), "No instance with ID nobody found.")
    only_failed = "The rewind operation is only supported on failed orchestration instances."
    await client.start_new("Noop", "well")
    await becomes("well", Status.Completed)
    await rejects(client.rewind("well", "x"), only_failed)
    await client.start_new("WaitForApproval", "lives")
    await becomes("lives", Status.Running)
    await rejects(client.rewind("lives", "x"), only_failed)


async def restarts():
    await client.start_new("WaitForApproval", "restarted", {"x": 1})
    await client.terminate("restarted", "x")
    links = await client.restart("restarted")
    fresh = links["id"]
    assert fresh != "restarted" and links["statusQueryGetUri"].startswith(f"{BASE}/instances/{fresh}?"), links
    again = await client.get_status(fresh, show_input=True)
    assert json.loads(again.input_) == {"x": 1}
    same = await client.restart("restarted", restart_with_new_instance_id=False)
    assert same["id"] == "restarted", same
    await becomes("restarted", Status.Running)
    await rejects(client.restart("restarted", restart_with_new_instance_id=False), "unexpected status code 409")
    await rejects(client.restart("nobody"), "The operation failed with an unexpected status code 400")


async def purges_one_and_by_a_filter():
    await client.start_new("Noop", "purged")
    await becomes("purged", Status.Completed)
    assert (await client.purge_instance_history("purged")).instances_deleted == 1
    assert (await client.purge_instance_history("purged")).instances_deleted == 0
    await client.start_new("WaitForApproval", "live")
    await becomes("live", Status.Running)
    await rejects(client.purge_instance_history("live"), "unexpected status code 409")
    before = datetime.now(timezone.utc) - timedelta(hours=1)
    later = datetime.now(timezone.utc) + timedelta(minutes=1)
    await client.start_new("WaitForApproval", "swept")
    await client.terminate("swept", "x")
    swept = await client.purge_instance_history_by(before, later, [Status.Terminated])
    assert swept.instances_deleted >= 1
    assert (await client.purge_instance_history_by(before, later, [Status.Terminated])).instances_deleted == 0
    assert (await client.purge_instance_history_by(before, before, [Status.Completed])).instances_deleted == 0
    assert (await client.purge_instance_history_by(before)).instances_deleted > 100
    assert (await client.get_status("live")).runtime_status == Status.Running, "a live one stays"
    await rejects(client.purge_instance_history_by(), "created_time_from is required")


async def waits_for_the_end_or_says_where_to_look():
    wait = client.wait_for_completion_or_create_check_status_response
    await client.start_new("E1_HelloSequence", "waited")
    completed = await wait(request(), "waited", 50_000, 100)
    assert completed.status_code == 200 and completed.mimetype == "application/json"
    assert json.loads(completed.get_body()) == ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]
    await client.start_new("AlwaysFails", "waited-failed")
    failed = await wait(request(), "waited-failed", 50_000, 100)
    assert failed.status_code == 500 and json.loads(failed.get_body())["runtimeStatus"] == "Failed"
    await client.start_new("WaitForApproval", "waiting")
    waiting = await wait(request(), "waiting", 100, 50)
    assert waiting.status_code == 202 and json.loads(waiting.get_body())["id"] == "waiting"
    await client.terminate("waiting", "x")
    terminated = await wait(request(), "waiting", 1000, 100)
    assert terminated.status_code == 200 and json.loads(terminated.get_body())["runtimeStatus"] == "Terminated"


async def makes_links_that_work():
    await client.start_new("WaitForApproval", "linked")
    await becomes("linked", Status.Running)
    payload = client.create_http_management_payload("linked")
    assert payload["id"] == "linked"
    for name in LINKS:
        assert payload[name].startswith(f"{BASE}/instances/linked"), payload[name]
    response = client.create_check_status_response(request("http://front.example.org/api/start"), "linked")
    location = response.headers["Location"]
    assert (response.status_code, response.headers["Retry-After"]) == (202, "10")
    assert location.startswith("http://front.example.org/runtime/webhooks/durabletask/instances/linked"), location
    assert json.loads(response.get_body())["statusQueryGetUri"] == location
    assert client.get_client_response_links(None, "linked") == payload
    assert send("GET", payload["statusQueryGetUri"]) == 202
    assert send("POST", payload["suspendPostUri"].replace("{text}", "a%20b")) == 202
    assert send("POST", payload["resumePostUri"].replace("{text}", "a%20b")) == 202
    assert send("POST", payload["sendEventPostUri"].replace("{eventName}", "Approval"), b"7") == 202
    await becomes("linked", Status.Completed)
    assert send("POST", payload["rewindPostUri"].replace("{text}", "x")) == 410
    assert send("POST", payload["terminatePostUri"].replace("{text}", "x")) == 410
    assert send("POST", payload["restartPostUri"]) == 202
    assert send("DELETE", payload["purgeHistoryDeleteUri"]) == 200


async def signals_and_reads_entities():
    counter = EntityId("Counter", "py @1")
    assert not (await client.read_entity_state(counter)).entity_exists
    await client.signal_entity(counter, "add", 5)
    await client.signal_entity(counter, "add", 2.5, "TestHubName", "Storage")

    async def sum_is(wanted):
        state = await client.read_entity_state(counter)
        return state.entity_exists and state.entity_state == wanted
    await eventually("the sum", lambda: sum_is(7.5))
    await client.signal_entity(counter, "reset")
    await eventually("the reset", lambda: sum_is(0))
    await client.signal_entity(counter, "delete")

    async def gone():
        return not (await client.read_entity_state(counter)).entity_exists
    await eventually("the end", gone)
    await rejects(client.signal_entity(EntityId("Nothing", "x"), "add", 1), "unexpected status code 400")


async def takes_any_legal_id():
    for instance_id in ["with space", "🦀 ünïcode", "100%", "a&b=c+d;e", "(x)'[y]~!*", "a:b@c,d", "{text}"]:
        assert await client.start_new("WaitForApproval", instance_id) == instance_id
        await becomes(instance_id, Status.Running)
        await client.raise_event(instance_id, "Approval", instance_id)
        assert json.loads((await becomes(instance_id, Status.Completed)).output) == instance_id
        assert (await client.purge_instance_history(instance_id)).instances_deleted == 1


async def has_no_method_that_was_not_called():
    methods = {name for name in dir(DurableOrchestrationClient)
               if not name.startswith("_") and callable(getattr(DurableOrchestrationClient, name))}
    assert len(methods) >= 17 and methods <= CALLED, (len(methods), sorted(methods - CALLED))


async def main():
    tests = [starts_with_and_without_an_id, is_told_of_a_start_that_cannot_be, reads_a_status_with_all_flags,
             tells_an_unknown_instance, reads_a_failure_and_a_custom_status, lists_all_and_by_filters, raises_events,
             terminates, suspends_and_resumes, rewinds, restarts, purges_one_and_by_a_filter,
             waits_for_the_end_or_says_where_to_look, makes_links_that_work, signals_and_reads_entities,
             takes_any_legal_id, has_no_method_that_was_not_called]
    failed = 0
    for test in tests:
        try:
            await test()
            print(f"ok {test.__name__}")
        except Exception:
            failed += 1
            print(f"{test.__name__}:\n{traceback.format_exc()}", file=sys.stderr)
    return failed


sys.exit(1 if asyncio.run(main()) else 0)
