// Drives a host with one of Azure's own JavaScript clients: `node client.js 1|2|3`, with the starter JSON as standard input.
// Every method is called as a function of an app would call it, and what it returns to its caller is checked.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");

const major = Number(process.argv[2]);
const starter = JSON.parse(fs.readFileSync(0, "utf8"));
const byWebhook = !starter.rpcBaseUrl;
const packageName = `durable-functions-${major}`;
const df = require(path.resolve("node_modules", packageName));
const origin = new URL(starter.baseUrl).origin;
// The methods that were called: those that a test names.
const called = new Set();
const noted = (client) => new Proxy(client, {
    get(target, name) {
        called.add(name);
        const value = target[name];
        return typeof value === "function" ? value.bind(target) : value;
    },
});
const MANAGED = ["statusQueryGetUri", "sendEventPostUri", "terminatePostUri", "rewindPostUri", "purgeHistoryDeleteUri",
    "restartPostUri", "suspendPostUri", "resumePostUri"];

// The third generation takes options by name, the others by position. Everything else is the same for all.
function adapt() {
    if (major === 3) {
        const input = { type: "durableClient", name: "client" };
        const context = { options: { extraInputs: [input] }, extraInputs: new Map([[input, starter]]) };
        const client = noted(df.getClient(context));
        return {
            client,
            start: (name, instanceId, input) => client.startNew(name, { instanceId, input }),
            status: (id, showHistory, showHistoryOutput, showInput) =>
                client.getStatus(id, { showHistory, showHistoryOutput, showInput }),
            statusBy: (createdTimeFrom, createdTimeTo, runtimeStatus) =>
                client.getStatusBy({ createdTimeFrom, createdTimeTo, runtimeStatus }),
            purgeBy: (createdTimeFrom, createdTimeTo, runtimeStatus) =>
                client.purgeInstanceHistoryBy({ createdTimeFrom, createdTimeTo, runtimeStatus }),
            wait: (request, id, timeoutInMilliseconds, retryIntervalInMilliseconds) =>
                client.waitForCompletionOrCreateCheckStatusResponse(
                    request, id, { timeoutInMilliseconds, retryIntervalInMilliseconds }),
        };
    }
    const client = noted(df.getClient({ bindings: { starter } }));
    return {
        client,
        start: (name, id, input) => client.startNew(name, id, input),
        status: (...args) => client.getStatus(...args),
        statusBy: (...args) => client.getStatusBy(...args),
        purgeBy: (...args) => client.purgeInstanceHistoryBy(...args),
        wait: (...args) => client.waitForCompletionOrCreateCheckStatusResponse(...args),
    };
}

const { client, start, status, statusBy, purgeBy, wait } = adapt();

async function eventually(what, ask) {
    const deadline = Date.now() + 120_000;
    for (;;) {
        const answer = await ask();
        if (answer) return answer;
        assert.ok(Date.now() < deadline, `waited in vain: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

const becomes = (id, wanted) =>
    eventually(`${id} becomes ${wanted}`, async () => {
        const found = await status(id);
        return found.runtimeStatus === wanted && found;
    });

const kinds = (history) => history.map((event) => event.EventType);

// Responses are plain objects at first, and from the third generation on classes with a body to be read.
async function body(response) {
    const text = typeof response.text === "function" ? await response.text() : response.body;
    return typeof text === "string" ? JSON.parse(text) : text;
}

function header(response, name) {
    return typeof response.headers.get === "function" ? response.headers.get(name) : String(response.headers[name]);
}

const tests = {
    async "starts, with and without an id"() {
        const made = await start("Noop");
        assert.match(made, /^[0-9a-f]{32}$/);
        assert.equal(await start("WaitForApproval", "started", { x: 1.5 }), "started");
        await becomes("started", "Running");
        assert.deepEqual((await status("started", false, false, true)).input, { x: 1.5 });
        await becomes(made, "Completed");
        assert.equal(await start("Noop", made), made, "an ended one is replaced");
    },

    async "is told of a start that cannot be"() {
        await start("WaitForApproval", "taken");
        await becomes("taken", "Running");
        await assert.rejects(start("WaitForApproval", "taken"),
            /unexpected status code: 409\. Details: .*An Orchestration instance with the status Running already exists\./);
        await assert.rejects(start("Nowhere"), /status code: 400\. Details: .*The function 'Nowhere' doesn't exist/);
        await assert.rejects(start("Noop", "@x"), /status code: 400\. Details: .*must not start with @/);
    },

    async "reads a status, with all flags"() {
        await start("Echo", "flags", { token: [1.5, "ü 🦀"] });
        await becomes("flags", "Completed");
        const plain = await status("flags");
        assert.equal(plain.name, "Echo");
        assert.equal(plain.instanceId, "flags");
        assert.deepEqual(plain.output, { token: [1.5, "ü 🦀"] });
        assert.equal(plain.customStatus, null);
        assert.ok(Math.abs(Date.now() - new Date(plain.createdTime)) < 600_000);
        assert.ok(new Date(plain.lastUpdatedTime) >= new Date(plain.createdTime));
        assert.equal(plain.history, undefined);
        const full = await status("flags", true, true, true);
        assert.deepEqual(full.input, { token: [1.5, "ü 🦀"] });
        assert.deepEqual(kinds(full.history), ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]);
        assert.deepEqual(full.history[1].Result, [1.5, "ü 🦀"]);
        assert.deepEqual(full.history[0].Input, { token: [1.5, "ü 🦀"] });
        const bare = await status("flags", true, false, false);
        assert.equal(bare.history[1].Result, undefined);
        // By its RPC URL the client leaves a false flag out, and the default is true.
        if (byWebhook) assert.equal(bare.input, null);
    },

    async "tells an unknown instance"() {
        if (major === 3) {
            await assert.rejects(status("nobody"), /could not find any data associated with the instanceId provided: nobody\./);
        } else {
            assert.ok(!(await status("nobody")), "falsy: the samples' singletons test for it");
        }
    },

    async "reads a failure and a custom status"() {
        await start("AlwaysFails", "failed");
        const failed = await becomes("failed", "Failed");
        assert.equal(failed.output, "Orchestrator function 'AlwaysFails' failed: this orchestration always fails");
        await start("Progress", "progress", { steps: 2 });
        const half = await eventually("a custom status", async () => {
            const found = await status("progress");
            return found.customStatus && found;
        });
        assert.deepEqual(half.customStatus, { done: 0, of: 2 });
    },

    async "lists over several pages"() {
        const from = new Date(Date.now() - 3_600_000);
        const ids = Array.from({ length: 230 }, (_, n) => `page-${n}`);
        await Promise.all(ids.map((id) => start("Noop", id)));
        await Promise.all(ids.map((id) => becomes(id, "Completed")));
        const listed = (all) => all.filter(({ instanceId }) => instanceId.startsWith("page-")).length;
        const all = await client.getStatusAll();
        assert.equal(listed(all), 230);
        assert.equal(new Set(all.map(({ instanceId }) => instanceId)).size, all.length, "none comes twice");
        const { Completed, Failed, Running, Pending } = df.OrchestrationRuntimeStatus;
        assert.equal(listed(await statusBy(from, new Date(Date.now() + 60_000), [Completed, Failed])), 230);
        assert.equal(listed(await statusBy(from, undefined, [Running, Pending])), 0);
        assert.equal(listed(await statusBy(undefined, from, [Completed])), 0);
        assert.equal(listed(await statusBy(from)), 230);
    },

    async "raises events"() {
        await start("WaitForApproval", "event");
        await becomes("event", "Running");
        await client.raiseEvent("event", "Approval", { yes: [1.5, null] });
        assert.deepEqual((await becomes("event", "Completed")).output, { yes: [1.5, null] });
        await client.raiseEvent("event", "Approval", 1);
        await assert.rejects(client.raiseEvent("nobody", "Approval", 1), /No instance with ID 'nobody' found\./);
        await assert.rejects(async () => client.raiseEvent("event", ""), /eventName must be a valid string\./);
        await start("WaitForApproval", "without");
        await client.raiseEvent("without", "Approval");
        assert.equal((await becomes("without", "Completed")).output, null);
    },

    async "terminates"() {
        await start("WaitForApproval", "terminated");
        await client.terminate("terminated", "it took too long");
        const ended = await status("terminated");
        assert.equal(ended.runtimeStatus, "Terminated");
        assert.equal(ended.output, "it took too long");
        await client.terminate("terminated", "again");
        await assert.rejects(client.terminate("nobody", "x"), /No instance with ID 'nobody' found\./);
    },

    async "suspends and resumes"() {
        if (!client.suspend) return "this generation has no such methods";
        await start("WaitForApproval", "held");
        await becomes("held", "Running");
        await client.suspend("held", "look first");
        assert.equal((await status("held")).runtimeStatus, "Suspended");
        await assert.rejects(client.suspend("held", "x"),
            /status code: 409\. Details: .*Cannot suspend the orchestration instance held because instance is in the Suspended state\./);
        await client.resume("held", "go on");
        await becomes("held", "Running");
        await assert.rejects(client.resume("held", "x"), /status code: 409/);
        await client.terminate("held", "done");
        await client.suspend("held", "x");
        await client.resume("held", "x");
        for (const method of ["suspend", "resume"]) {
            await assert.rejects(client[method]("nobody", "x"), /No instance with ID 'nobody' found\./);
        }
    },

    async "rewinds"() {
        await start("AlwaysFails", "rewound");
        await becomes("rewound", "Failed");
        await client.rewind("rewound", "once more");
        await becomes("rewound", "Failed");
        await assert.rejects(client.rewind("nobody", "x"), /No instance with ID 'nobody' found\./);
        await start("Noop", "well");
        await becomes("well", "Completed");
        // The third generation knows 412 here, and calls the 410 of the host an unexpected status.
        await assert.rejects(client.rewind("well", "x"),
            major === 3 ? /status code: 410/ : /The rewind operation is only supported on failed orchestration instances\./);
        await start("WaitForApproval", "lives");
        await becomes("lives", "Running");
        await assert.rejects(client.rewind("lives", "x"),
            /status code: 409\. Details: .*The rewind operation is only supported on failed orchestration instances\./);
    },

    async "purges one and by a filter"() {
        await start("Noop", "purged");
        await becomes("purged", "Completed");
        assert.equal((await client.purgeInstanceHistory("purged")).instancesDeleted, 1);
        assert.equal((await client.purgeInstanceHistory("purged")).instancesDeleted, 0);
        await start("WaitForApproval", "live");
        await becomes("live", "Running");
        await assert.rejects(client.purgeInstanceHistory("live"), /status code: 409/);
        const from = new Date(Date.now() - 3_600_000);
        const { Terminated, Completed } = df.OrchestrationRuntimeStatus;
        await start("WaitForApproval", "swept");
        await client.terminate("swept", "x");
        const swept = await purgeBy(from, new Date(Date.now() + 60_000), [Terminated]);
        assert.ok(swept.instancesDeleted >= 1, JSON.stringify(swept));
        assert.equal((await purgeBy(from, undefined, [Terminated])).instancesDeleted, 0);
        assert.equal((await purgeBy(from, new Date(Date.now() - 1_800_000), [Completed])).instancesDeleted, 0);
        assert.ok((await purgeBy(from)).instancesDeleted >= 0);
        assert.equal((await status("live")).runtimeStatus, "Running", "a live one stays");
    },

    async "waits for the end, or says where to look"() {
        const url = `${origin}/api/start?x=1`;
        const request = major === 3 ? { url } : { url, http: { url } };
        await start("E1_HelloSequence", "waited");
        const completed = await wait(request, "waited", 50_000, 100);
        assert.equal(completed.status, 200);
        assert.deepEqual(await body(completed), ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]);
        await start("AlwaysFails", "waited-failed");
        const failed = await wait(request, "waited-failed", 50_000, 100);
        assert.equal(failed.status, 500);
        assert.equal((await body(failed)).runtimeStatus, "Failed");
        await start("WaitForApproval", "waiting");
        const waiting = await wait(request, "waiting", 100, 50);
        assert.equal(waiting.status, 202);
        assert.equal((await body(waiting)).id, "waiting");
        await client.terminate("waiting", "x");
        const terminated = await wait(request, "waiting", 1000, 100);
        assert.equal(terminated.status, 200);
        assert.equal((await body(terminated)).runtimeStatus, "Terminated");
    },

    async "makes links that work"() {
        await start("WaitForApproval", "linked");
        await becomes("linked", "Running");
        const payload = client.createHttpManagementPayload("linked");
        assert.equal(payload.id, "linked");
        for (const name of MANAGED) {
            assert.ok(payload[name].startsWith(`${starter.baseUrl}/instances/linked`), `${name}: ${payload[name]}`);
        }
        const url = "http://front.example.org/api/start";
        const response = client.createCheckStatusResponse(major === 3 ? { url } : { http: { url }, url }, "linked");
        assert.equal(response.status, 202);
        assert.equal(header(response, "Retry-After"), "10");
        assert.ok(header(response, "Location").startsWith("http://front.example.org/runtime/webhooks/durabletask/instances/linked"));
        assert.equal((await body(response)).statusQueryGetUri, header(response, "Location"));
        const send = (method, uri, body) =>
            fetch(uri, { method, body, headers: body && { "content-type": "application/json" } });
        assert.equal((await send("GET", payload.statusQueryGetUri)).status, 202);
        assert.equal((await send("POST", payload.suspendPostUri.replace("{text}", "a%20b"))).status, 202);
        assert.equal((await send("POST", payload.resumePostUri.replace("{text}", "a%20b"))).status, 202);
        assert.equal((await send("POST", payload.sendEventPostUri.replace("{eventName}", "Approval"), "7")).status, 202);
        await becomes("linked", "Completed");
        assert.equal((await send("POST", payload.rewindPostUri.replace("{text}", "x"))).status, 410);
        assert.equal((await send("POST", payload.terminatePostUri.replace("{text}", "x"))).status, 410);
        assert.equal((await send("POST", payload.restartPostUri)).status, 202);
        assert.equal((await send("DELETE", payload.purgeHistoryDeleteUri)).status, 200);
    },

    async "signals and reads entities"() {
        const counter = new df.EntityId("Counter", "js @1");
        const none = await client.readEntityState(counter);
        assert.equal(none.entityExists, false);
        await client.signalEntity(counter, "add", 5);
        await client.signalEntity(counter, "add", 2.5);
        const read = await eventually("the sum", async () => {
            const found = await client.readEntityState(counter);
            return found.entityState === 7.5 && found;
        });
        assert.equal(read.entityExists, true);
        await client.signalEntity(counter, "reset");
        await eventually("the reset", async () => (await client.readEntityState(counter)).entityState === 0);
        await client.signalEntity(counter, "delete");
        await eventually("the end", async () => !(await client.readEntityState(counter)).entityExists);
        await assert.rejects(client.signalEntity(new df.EntityId("Nothing", "x"), "add", 1), /status code: 400/);
    },

    async "takes any legal id"() {
        // By a template's URL the first generation escapes nothing: its callers do.
        const escape = major === 1 && byWebhook ? encodeURIComponent : (id) => id;
        for (const id of ["with space", "🦀 ünïcode", "100%", "a&b=c+d;e", "(x)'[y]~!*", "a:b@c,d", "{text}"]) {
            const sent = escape(id);
            assert.equal(await start("WaitForApproval", sent), id);
            await becomes(sent, "Running");
            await client.raiseEvent(sent, "Approval", id);
            assert.equal((await becomes(sent, "Completed")).output, id);
            assert.equal((await client.purgeInstanceHistory(sent)).instancesDeleted, 1);
        }
    },
};

tests["has no method that was not called"] = () => {
    // Those that the source calls private.
    const own = ["constructor", "createGenericError", "createHttpResponse", "extractUniqueWebhookOrigins",
        "extractWebhookOrigins", "getClientResponseLinks",
        "getDistributedTracingHeaders", "getStatusInternal", "hasValidRequestUrl"];
    const methods = new Set();
    for (let proto = Object.getPrototypeOf(client); proto !== Object.prototype; proto = Object.getPrototypeOf(proto)) {
        Object.getOwnPropertyNames(proto).filter((name) => !own.includes(name)).forEach((name) => methods.add(name));
    }
    const missed = [...methods].filter((name) => !called.has(name));
    assert.ok(methods.size >= 13 && missed.length === 0, `of ${methods.size}: ${missed}`);
};

async function main() {
    const version = require(path.resolve("node_modules", packageName, "package.json")).version;
    for (const [name, test] of Object.entries(tests)) {
        try {
            const note = await test();
            console.log(`ok ${name}${note ? ` (${note})` : ""}`);
        } catch (error) {
            console.error(`durable-functions ${version}, ${byWebhook ? "by webhook" : "by rpc"}: ${name}: ${error.stack}`);
            process.exitCode = 1;
        }
    }
}

main();
