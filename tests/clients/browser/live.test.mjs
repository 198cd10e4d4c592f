// Live queries: whole transactions, fresh sorted arrays, shared subscriptions.

import assert from "node:assert/strict"
import { test } from "node:test"

import { follow, ids, settled, start, started } from "./fake.mjs"

test("a live query shows its set once, when the snapshot is complete", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks.where({ status: "doing" }).order("-due").limit(20))
  const call = server.last("subscribe")
  const { sub } = call.params
  assert.deepEqual(call.params, {
    sub,
    resource: "tasks",
    query: { where: { status: "doing" }, sort: ["-due"], limit: 20 },
  })
  const sort = [{ field: "due", descending: true, type: "date" }, { field: "id", descending: true, type: "uuid" }]
  server.answer(call, { sub, group: "g1", key: "k", lane: "exact", resumed: false, sort, key_field: "id" })
  server.notify("snapshot", { sub, records: [{ id: "a", due: null }] })
  server.notify("snapshot", { sub, records: [{ id: "b", due: "2026-12-01" }] })
  assert.deepEqual(tasks.seen, [])
  server.notify("ready", { sub, cursor: "c1" })
  assert.deepEqual(tasks.seen, [[{ id: "b", due: "2026-12-01" }, { id: "a", due: null }]])
  await settled()
  assert.deepEqual(tasks.statuses, ["live"])
})

test("an empty set is shown too", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks)
  server.subscribed("g1", [])
  assert.deepEqual(tasks.seen, [[]])
})

test("frames of two queries are shown in one go, and not before their commit", async () => {
  const { api, server } = await started()
  const open = follow(api.tasks.where({ done: false }))
  server.subscribed("g1", [{ id: "a", done: false }, { id: "b", done: false }])
  const done = follow(api.tasks.where({ done: true }))
  server.subscribed("g2", [])
  server.frame("g1", { removed: ["a"] })
  server.frame("g2", { added: [{ id: "a", done: true }] })
  await settled()
  assert.deepEqual([ids(open.last), ids(done.last)], [["a", "b"], []])
  server.commit() // Both have been called when it returns: no task can run between them.
  assert.deepEqual([ids(open.last), ids(done.last)], [["b"], ["a"]])
  assert.deepEqual([open.seen.length, done.seen.length], [2, 2])
})

test("several frames before one commit call a callback once", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks)
  server.subscribed("g1", [])
  server.frame("g1", { added: [{ id: "b" }] })
  server.frame("g1", { added: [{ id: "a" }] })
  server.frame("g1", { changed: [{ key: "b", fields: { title: "B" } }] })
  server.commit()
  assert.deepEqual(tasks.seen, [[], [{ id: "a" }, { id: "b", title: "B" }]])
})

test("a commit that changes nothing of a query does not call its callback", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a" }])
  server.frame("g1", { removed: ["never held"] })
  server.frame("g-other", { added: [{ id: "z" }] })
  server.commit()
  assert.equal(tasks.seen.length, 1)
})

test("what was handed out is never changed, and records that stay the same keep their identity", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a", n: 1, note: "x" }, { id: "b", n: 1 }])
  server.frame("g1", { changed: [{ key: "a", fields: { n: 2 }, absent: ["note"] }] })
  server.commit()
  const [before, after] = tasks.seen
  assert.deepEqual(before, [{ id: "a", n: 1, note: "x" }, { id: "b", n: 1 }])
  assert.deepEqual(after, [{ id: "a", n: 2 }, { id: "b", n: 1 }])
  assert.equal(after[1], before[1])
  assert.notEqual(after, before)
})

test("a window shows exactly the rows that the server sends for it", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks.limit(2))
  server.subscribed("g1", [{ id: "b" }, { id: "c" }])
  server.frame("g1", { added: [{ id: "a" }], removed: ["c"] })
  server.commit()
  assert.deepEqual(ids(tasks.last), ["a", "b"])
  server.frame("g1", { removed: ["a"], added: [{ id: "c" }] })
  server.commit()
  assert.deepEqual(ids(tasks.last), ["b", "c"])
})

test("where the server gives the order, it is used", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks.order("project.owner"))
  server.subscribed("g1", [{ id: "a" }, { id: "b" }], { more: { order: ["b", "a"] } })
  assert.deepEqual(ids(tasks.last), ["b", "a"])
  server.frame("g1", { added: [{ id: "c" }], order: ["c", "b", "a"] })
  server.commit()
  assert.deepEqual(ids(tasks.last), ["c", "b", "a"])
})

test("a live number is shown whenever it changes", async () => {
  const { api, server } = await started()
  const count = follow(api.read("open-count"))
  const call = server.last("subscribe")
  const { sub } = call.params
  assert.deepEqual(call.params, { sub, read: "open-count", args: {} })
  server.answer(call, { sub, group: "g8", key: "k", lane: "exact", resumed: false })
  server.notify("snapshot", { sub, value: 42 })
  server.notify("ready", { sub, cursor: "c1" })
  server.frame("g8", { value: 43 })
  server.commit("c2")
  server.frame("g8", { value: 43 })
  server.commit("c3")
  assert.deepEqual(count.seen, [42, 43])
})

test("identical queries share one subscription, which ends with its last listener", async () => {
  const { api, server } = await started()
  const first = follow(api.tasks.where({ a: 1, b: 2 }))
  const sub = server.subscribed("g1", [{ id: "a" }])
  const second = follow(api.tasks.where({ b: 2 }).where({ a: 1 }))
  assert.deepEqual(second.seen, [])
  await settled()
  assert.deepEqual(second.seen, [[{ id: "a" }]])
  assert.notEqual(second.last, first.last)
  assert.equal(server.count("subscribe"), 1)
  first.stop()
  first.stop()
  assert.equal(server.count("unsubscribe"), 0)
  server.frame("g1", { removed: ["a"] })
  server.commit()
  assert.deepEqual(second.last, [])
  assert.equal(first.seen.length, 1)
  second.stop()
  assert.deepEqual(server.last("unsubscribe").params, { sub })
})

test("different queries of one group each get its frames", async () => {
  const { api, server } = await started()
  const one = follow(api.read("mine", { limit: 5 }))
  server.subscribed("g1", [{ id: "a" }])
  const two = follow(api.read("mine", { limit: 6 }))
  server.subscribed("g1", [{ id: "a" }])
  server.frame("g1", { removed: ["a"] })
  server.commit()
  assert.deepEqual([one.last, two.last], [[], []])
})

test("frames that a group gets while a new subscriber of it loads are not meant for that one", async () => {
  const { api, server } = await started()
  follow(api.read("mine", { limit: 5 }))
  server.subscribed("g1", [{ id: "a" }])
  const late = follow(api.read("mine", { limit: 6 }))
  const call = server.last("subscribe")
  const { sub } = call.params
  server.answer(call, { sub, group: "g1", key: "k", lane: "exact", resumed: false, sort: [], key_field: "id" })
  server.frame("g1", { added: [{ id: "b", old: true }] })
  server.commit("c2")
  server.notify("snapshot", { sub, records: [{ id: "a" }] })
  server.frame("g1", { removed: ["c"] })
  server.notify("snapshot", { sub, records: [{ id: "c" }] })
  server.notify("ready", { sub, cursor: "c3" })
  server.commit("c3")
  assert.deepEqual(late.seen, [[{ id: "a" }, { id: "c" }]])
  server.frame("g1", { removed: ["c"] })
  server.commit("c4")
  assert.deepEqual(ids(late.last), ["a"])
})

test("reset keeps the old set on show until the new one is complete", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks)
  const sub = server.subscribed("g1", [{ id: "a" }])
  await settled()
  server.frame("g1", { added: [{ id: "void" }] })
  server.notify("reset", { sub, reason: "gap" })
  server.notify("snapshot", { sub, records: [{ id: "b" }] })
  server.commit("c2")
  assert.deepEqual(tasks.seen, [[{ id: "a" }]])
  server.notify("ready", { sub, cursor: "c3" })
  assert.deepEqual(tasks.seen, [[{ id: "a" }], [{ id: "b" }]])
  assert.deepEqual(tasks.statuses, ["live", "stale", "live"])
})

test("a refused subscription and a problem end the live query through onError", async () => {
  const { api, server } = await started()
  const refused = follow(api.tasks.where({ nope: 1 }))
  server.refuse(server.last("subscribe"), { status: 400, title: "Bad query", code: "bad_query", errors: [] })
  const revoked = follow(api.tasks)
  const sub = server.subscribed("g1", [{ id: "a" }])
  server.notify("problem", { sub, problem: { status: 403, title: "Forbidden", code: "forbidden" } })
  assert.deepEqual(refused.errors.map(({ status, code }) => [status, code]), [[400, "bad_query"]])
  assert.deepEqual(revoked.errors.map(({ status, code }) => [status, code]), [[403, "forbidden"]])
  assert.equal(revoked.statuses.at(-1), "ended")
  server.frame("g1", { removed: ["a"] })
  server.commit()
  assert.equal(revoked.seen.length, 1)
})

test("a set that becomes ready while frames are held is shown with their commit", async () => {
  const { api, server } = await started()
  const open = follow(api.tasks.where({ done: false }))
  server.subscribed("g1", [{ id: "a", done: false }])
  server.frame("g1", { removed: ["a"] })
  const done = follow(api.tasks.where({ done: true }))
  server.subscribed("g2", [{ id: "a", done: true }])
  assert.deepEqual([open.seen.map(ids), done.seen], [[["a"]], []])
  server.commit()
  assert.deepEqual([open.seen.map(ids), done.seen.map(ids)], [[["a"], []], [["a"]]])
})

test("a subscription that a rate refuses is asked for again when the server says so", async () => {
  const { api, server, clock } = await started()
  const errors = []
  api.tasks.where({ n: 1 }).live(() => {}, { onError: (error) => errors.push(error) })
  server.refuse(server.last("subscribe"), { status: 429, code: "too_many_requests", retry_in: 1500 })
  await clock.advance(1499)
  assert.equal(server.count("subscribe"), 1)
  await clock.advance(1)
  assert.equal(server.count("subscribe"), 2)
  assert.deepEqual(errors, [])
})

test("without onError the failure of a live query is reported", async () => {
  const { api, server, errors } = await started()
  api.tasks.live(() => {})
  server.refuse(server.last("subscribe"), { status: 403, title: "Forbidden", code: "forbidden" })
  assert.deepEqual(errors.map(({ code }) => code), ["forbidden"])
})

test("a callback that throws is reported and does not stop the others", async () => {
  const { api, server, errors } = await started()
  api.tasks.live(() => {
    throw new Error("mine")
  })
  const other = follow(api.tasks)
  server.subscribed("g1", [])
  await settled()
  assert.deepEqual(other.seen, [[]])
  assert.deepEqual(errors.map(({ message }) => message), ["mine"])
})

test("a callback may stop itself and start another query", async () => {
  const { api, server } = await started()
  const seen = []
  const stop = api.tasks.live((rows) => {
    seen.push(rows)
    stop()
    api.projects.live(() => {})
  })
  server.subscribed("g1", [])
  assert.equal(server.last("subscribe").params.resource, "projects")
  assert.equal(server.count("unsubscribe"), 1)
  server.frame("g1", { added: [{ id: "a" }] })
  server.commit()
  assert.deepEqual(seen, [[]])
})

test("what a stopped query still receives is ignored", async () => {
  const { api, server, errors } = await started()
  const tasks = follow(api.tasks)
  const call = server.last("subscribe")
  tasks.stop()
  server.answer(call, { sub: call.params.sub, group: "g1", key: "k", lane: "exact", resumed: false, sort: [] })
  server.notify("snapshot", { sub: call.params.sub, records: [{ id: "a" }] })
  server.notify("ready", { sub: call.params.sub, cursor: "c1" })
  await settled()
  assert.deepEqual([tasks.seen, errors], [[], []])
})

test("queries made while connecting are asked when the connection is open", async () => {
  const { api, server } = start()
  follow(api.lineItems)
  assert.deepEqual(server.sent, [])
  await server.accept()
  assert.equal(server.last("subscribe").params.resource, "line-items")
})

test("where() joins conditions and refuses what it cannot join", async () => {
  const { api } = start()
  const query = api.tasks.where({ due: { gte: "2026-01-01" } }).where({ due: { lt: "2026-02-01" }, done: false })
  assert.deepEqual(query.json, { where: { due: { gte: "2026-01-01", lt: "2026-02-01" }, done: false } })
  assert.throws(() => query.where({ done: true }), TypeError)
})
