// Calls, and writes that are shown before they are confirmed.

import assert from "node:assert/strict"
import { test } from "node:test"

import { CruditeError } from "../../../src/crudite/interfaces/browser/crudite.js"
import { follow, ids, settled, start, started } from "./fake.mjs"

const A = { id: "a", title: "one", version: 1 }

/** A client with one live query of tasks that holds `records`. */
async function watching(query, records, options) {
  const all = await started()
  const tasks = follow(query(all.api))
  all.server.subscribed("g1", records, options)
  return { ...all, tasks }
}

test("calls travel as the wire says and resolve with what they return", async () => {
  const { api, server } = await started()
  const calls = [
    [api.tasks.get("a", { fields: ["id"] }), "tasks.read", { key: "a", query: { fields: ["id"] } }, A, A],
    [api.tasks.create({ title: "x" }), "tasks.create", { data: { title: "x" } }, A, A],
    [api.tasks.create([{ title: "x" }]), "tasks.create", { data: [{ title: "x" }] }, [A], [A]],
    [api.tasks.update("a", { n: 1 }, { version: 3 }), "tasks.update", { key: "a", data: { n: 1 }, version: 3 }, A, A],
    [api.tasks.replace("a", { n: 1 }), "tasks.replace", { key: "a", data: { n: 1 } }, A, A],
    [api.tasks.delete("a"), "tasks.delete", { key: "a" }, undefined, undefined],
    [api.tasks.delete("a", { force: true, purge: true }), "tasks.delete", { key: "a", force: true, purge: true }],
    [api.tasks.restore("a", { version: 3 }), "tasks.restore", { key: "a", version: 3 }, A, A],
    [api.call("overdue", { limit: 2 }), "overdue", { limit: 2 }, [A], [A]],
    [api.read("overdue").get(), "overdue", {}, [A], [A]],
  ]
  const sent = server.sent.map(({ method, params }) => [method, params])
  assert.deepEqual(sent, calls.map(([, method, params]) => [method, params]))
  calls.forEach(([, , , data], index) => server.answer(server.sent[index], { data, after: "m1" }))
  for (const [promise, , , , expected] of calls) assert.deepEqual(await promise, expected)
})

test("list() resolves with an array that knows its neighbours", async () => {
  const { api, server } = await started()
  const listing = api.tasks.where({ done: false }).list({ count: "exact", cursor: "p2" })
  const call = server.last("tasks.list")
  assert.deepEqual(call.params, { query: { where: { done: false }, count: "exact", cursor: "p2" } })
  server.answer(call, { data: [A], next: "p3", prev: null, count: 7 })
  const page = await listing
  assert.deepEqual(page, [A])
  assert.deepEqual([page.next, page.prev, page.count], ["p3", null, 7])
})

test("a refused call rejects with the server's problem", async () => {
  const { api, server } = await started()
  const creating = api.tasks.create({ title: "" })
  const errors = [{ pointer: "/title", code: "string_too_short", detail: "too short" }]
  const problem = { status: 422, title: "Invalid", code: "invalid", detail: "1 field is not valid.", errors }
  server.refuse(server.last("tasks.create"), problem)
  await assert.rejects(creating, (error) => {
    assert.ok(error instanceof CruditeError)
    assert.deepEqual([error.status, error.code, error.message], [422, "invalid", "1 field is not valid."])
    assert.deepEqual([error.errors, error.problem], [errors, problem])
    return true
  })
})

test("an error of JSON-RPC itself rejects too", async () => {
  const { api, server } = await started()
  const calling = api.call("nope")
  server.say({ jsonrpc: "2.0", id: server.last("nope").id, error: { code: -32601, message: "Method not found" } })
  await assert.rejects(calling, { code: "protocol", status: 0, message: "Method not found" })
})

test("answers that come as a batch are all heard", async () => {
  const { api, server } = await started()
  const both = Promise.all([api.call("one"), api.call("two")])
  server.say(server.sent.map(({ id, method }) => ({ jsonrpc: "2.0", id, result: { data: method } })))
  assert.deepEqual(await both, ["one", "two"])
})

test("calls made while connecting wait, with the data that they were given", async () => {
  const { api, server } = start()
  const data = { title: "then" }
  api.tasks.create(data).catch(() => {})
  data.title = "later"
  assert.equal(server.sent.length, 0)
  await server.accept()
  assert.deepEqual(server.last("tasks.create").params, { data: { title: "then" } })
})

test("an update is shown at once, and stays without a flicker until the frames cover it", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [A, { id: "b", title: "two", version: 1 }])
  const updating = api.tasks.update("a", { title: "new", secret: "not shown before, not shown now" })
  assert.deepEqual(tasks.last[0], { id: "a", title: "new", version: 1 })
  assert.equal(tasks.last[1], tasks.seen[0][1])
  const call = server.last("tasks.update")
  const stored = { id: "a", title: "new", version: 2 }
  server.answer(call, { data: stored, after: "m" })
  assert.deepEqual(await updating, stored)
  assert.equal(tasks.seen.length, 2)
  server.frame("g1", { changed: [{ key: "a", fields: { title: "new", version: 2 }, absent: [] }] })
  server.commit()
  server.notify("acks", { ids: [call.id] })
  const titles = tasks.seen.map((rows) => rows[0].title)
  assert.deepEqual(titles, ["one", "new", "new", "new"].slice(0, titles.length))
  assert.deepEqual(tasks.last[0], stored)
  server.frame("g1", { changed: [{ key: "a", fields: { title: "someone else's" } }] })
  server.commit()
  assert.equal(tasks.last[0].title, "someone else's")
})

test("an acks between a frame and its commit counts from the commit on", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [A])
  api.tasks.update("a", { title: "new" })
  const call = server.last("tasks.update")
  server.frame("g1", { changed: [{ key: "a", fields: { title: "new" } }] })
  server.notify("acks", { ids: [call.id] })
  server.answer(call, { data: A })
  await settled()
  assert.deepEqual(tasks.seen.map(([{ title }]) => title), ["one", "new"])
  server.frame("g1", { changed: [{ key: "a", fields: { title: "newer" } }] })
  server.commit()
  assert.equal(tasks.last[0].title, "newer")
})

test("an acks while a query loads counts from its ready on", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [A])
  const { sub } = server.last("subscribe").params
  api.tasks.update("a", { title: "new" })
  const call = server.last("tasks.update")
  server.answer(call, { data: A })
  server.notify("reset", { sub, reason: "gap" })
  server.notify("acks", { ids: [call.id] })
  assert.equal(tasks.last[0].title, "new")
  server.notify("snapshot", { sub, records: [{ ...A, title: "newest" }] })
  server.notify("ready", { sub, cursor: "c9" })
  assert.deepEqual(tasks.seen.map(([{ title }]) => title), ["one", "new", "newest"])
})

test("a record that rests on a guess keeps its identity while nothing about it changes", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [A])
  api.tasks.update("a", { title: "new" })
  server.frame("g1", { added: [{ id: "b" }] })
  server.commit()
  assert.deepEqual(ids(tasks.last), ["a", "b"])
  assert.equal(tasks.last[0], tasks.seen.at(-2)[0])
})

test("an acks before the answer ends the guess as well", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [A])
  api.tasks.delete("a")
  const call = server.last("tasks.delete")
  server.frame("g1", { removed: ["a"] })
  server.commit()
  server.notify("acks", { ids: [call.id] })
  server.answer(call, { after: "m" })
  server.frame("g1", { added: [A] })
  server.commit()
  assert.deepEqual(tasks.seen.map(ids), [["a"], [], ["a"]])
})

test("a refused write disappears again", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [A])
  const updating = api.tasks.update("a", { title: "new" })
  const deleting = api.tasks.delete("a")
  assert.deepEqual(tasks.last, [])
  server.refuse(server.last("tasks.delete"), { status: 403, code: "forbidden", title: "Forbidden" })
  await assert.rejects(deleting, { code: "forbidden" })
  assert.deepEqual(tasks.last, [{ ...A, title: "new" }])
  server.refuse(server.last("tasks.update"), { status: 409, code: "conflict", title: "Conflict" })
  await assert.rejects(updating, { code: "conflict" })
  assert.equal(tasks.last[0], tasks.seen[0][0])
})

test("what is written while deleted records are shown is shown when the server says where", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks.deleted("only"), [A])
  assert.deepEqual(server.last("subscribe").params.query, { deleted: "only" })
  api.tasks.create({ id: "b", title: "new" })
  api.tasks.delete("a")
  assert.deepEqual(tasks.seen.map(ids), [["a"]])
})

test("a created record gets a UUIDv7 and is shown where it plainly belongs", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks.where({ done: false, size: { gte: 3 } }), [])
  const creating = api.tasks.create({ done: false, size: 3 })
  const { data } = server.last("tasks.create").params
  assert.match(data.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.equal(parseInt(data.id.replace("-", "").slice(0, 12), 16), 1_000_000)
  assert.deepEqual(tasks.last, [{ id: data.id, done: false, size: 3 }])
  const stored = { ...data, version: 1 }
  server.answer(server.last("tasks.create"), { data: stored })
  assert.deepEqual(await creating, stored)
  server.frame("g1", { added: [stored] })
  server.commit()
  server.notify("acks", { ids: [server.last("tasks.create").id] })
  assert.deepEqual(tasks.last, [stored])
})

test("a create shows when it is confirmed where only the server knows the order, also before the first change", async () => {
  const { api, server } = await started()
  const tasks = follow(api.tasks.order("project.owner"))
  server.subscribed("g1", [{ id: "b" }, { id: "a" }], { sort: [] })
  api.tasks.create({ id: "c" })
  await settled()
  assert.deepEqual(tasks.seen.map(ids), [["b", "a"]])
  server.frame("g1", { added: [{ id: "c" }], order: ["b", "c", "a"] })
  server.commit()
  assert.deepEqual(ids(tasks.last), ["b", "c", "a"])
})

test("records created in one millisecond keep their order", async () => {
  const { api, tasks } = await watching((api) => api.tasks, [])
  api.tasks.create([{ n: 1 }, { n: 2 }, { n: 3 }])
  assert.deepEqual(tasks.last.map(({ n }) => n), [1, 2, 3])
})

for (const [reason, where, data] of [
  ["the filter has another value", { done: true }, { done: false }],
  ["a field of the filter has a default that is not known", { done: false }, { title: "x" }],
  ["the filter has an alternative", { or: [{ done: false }] }, { done: false }],
  ["the filter has a negation", { not: { done: true } }, { done: false }],
  ["the filter goes through a reference", { "project.owner": 7 }, { "project.owner": 7 }],
  ["the operator is not a comparison", { title: { contains: "x" } }, { title: "x" }],
  ["text may be a number to the server", { price: { gt: "9.00" } }, { price: "10.00" }],
  ["a number as text may be the same in another spelling", { price: { ne: "12.5" } }, { price: "12.50" }],
  ["a comparison with null is false", { size: { lt: 3 } }, { size: null }],
]) {
  test(`a created record is not shown where ${reason}`, async () => {
    const { api, tasks } = await watching((api) => api.tasks.where(where), [])
    api.tasks.create(data)
    assert.deepEqual(tasks.seen, [[]])
  })
}

for (const [where, data] of [
  [{ owner: null }, { owner: null }],
  [{ owner: { ne: null } }, { owner: 7 }],
  [{ status: { ne: "done" } }, { status: "todo" }],
  [{ due: { gte: "2026-01-01", lt: "2026-02-01" } }, { due: "2026-01-15" }],
]) {
  test(`a created ${JSON.stringify(data)} is shown where ${JSON.stringify(where)}`, async () => {
    const { api, tasks } = await watching((api) => api.tasks.where(where), [])
    api.tasks.create(data)
    assert.equal(tasks.last.length, 1)
  })
}

test("a created record that sorts behind a full window is not shown, one before its end is", async () => {
  const { api, tasks } = await watching(
    (api) => api.tasks.order("n").limit(2),
    [{ id: "a", n: 1 }, { id: "b", n: 5 }],
    { sort: [{ field: "n", type: "integer" }, { field: "id", type: "uuid" }] },
  )
  api.tasks.create({ n: 9 })
  assert.equal(tasks.seen.length, 1)
  api.tasks.create({ n: 2 })
  assert.deepEqual(tasks.last.map(({ n }) => n), [1, 2])
})

test("no key is made up where keys are not UUIDs", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [], { sort: [{ field: "id", type: "integer" }] })
  api.tasks.create({ title: "x" })
  assert.deepEqual(server.last("tasks.create").params, { data: { title: "x" } })
  assert.deepEqual(tasks.seen, [[]])
})

test("a guess whose acks never comes does not stay for ever", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [A])
  const updating = api.tasks.update("a", { title: "new" })
  server.answer(server.last("tasks.update"), { data: A })
  await updating
  for (let i = 0; i < 2; i++) server.notify("ping")
  assert.equal(tasks.last[0].title, "new")
  server.notify("ping")
  assert.equal(tasks.last[0].title, "one")
})

test("a guess that nobody sees is not kept", async () => {
  const { api, server, tasks } = await watching((api) => api.tasks, [A])
  api.tasks.update("a", { title: "new" })
  tasks.stop()
  const again = follow(api.tasks)
  server.subscribed("g1", [A])
  assert.deepEqual(again.seen, [[A]])
})
