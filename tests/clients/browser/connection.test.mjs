// One connection after the other: backoff, silence, resuming, closing.

import assert from "node:assert/strict"
import { test } from "node:test"

import { connect } from "../../../src/crudite/interfaces/browser/crudite.js"
import { BY_ID, FakeServer, follow, ids, settled, start, started } from "./fake.mjs"

/** Lose the connection, wait for the next attempt, and accept it. */
async function reconnect({ server, clock }) {
  await server.lose()
  await clock.advance(clock.nextIn)
  await server.accept()
}

/** A connected client whose token, if it has one, was accepted. */
async function introduced(options) {
  const all = await started(options)
  if (all.server.count("auth")) all.server.answer(all.server.last("auth"), { actor: { id: 7, roles: [] } })
  await settled()
  return all
}

/** A function that makes one token after the other. */
const fresh = (...tokens) => async () => tokens.shift()

test("the address becomes one of a WebSocket, with the subprotocol", () => {
  const { api, server } = start({ url: "https://example.org/app/ws" })
  assert.deepEqual([server.socket.url, server.socket.protocols], ["wss://example.org/app/ws", ["crudite.v1"]])
  api.close()
})

test("the proxy is no promise, and knows its own members", async () => {
  const { api } = await started()
  assert.equal(await api, api)
  assert.equal(api.status, "open")
  assert.equal(api.lineItems.resource, "line-items")
  assert.equal(api.resource("call").resource, "call")
  assert.equal(JSON.stringify({ api }), '{"api":{"status":"open"}}')
})

test("a connection that fails is tried again with full jitter, at most 15 s apart", async () => {
  const rolls = [1, 0.5, 1, 1, 1, 1, 1, 1, 1]
  const { server, clock } = start({ random: () => rolls.shift() })
  const delays = []
  for (let i = 0; i < 9; i++) {
    await server.lose()
    delays.push(clock.nextIn)
    await clock.advance(clock.nextIn)
  }
  assert.deepEqual(delays, [250, 250, 1000, 2000, 4000, 8000, 15000, 15000, 15000])
  assert.equal(server.sockets.length, 10)
})

test("a tap hears every answer and notification as it came, one by one, before it takes effect", async () => {
  const heard = []
  let rows
  const { api, server } = await started({ tap: (message) => heard.push([message.id ?? message.method, rows]) })
  api.tasks.live((shown) => (rows = ids(shown)))
  server.subscribed("g1", [{ id: "a" }])
  const { id } = server.last("subscribe")
  server.say([
    { jsonrpc: "2.0", method: "frame", params: { group: "g1", added: [{ id: "b" }] } },
    { jsonrpc: "2.0", method: "commit", params: { cursor: "c2" } },
  ])
  server.notify("ping")
  assert.deepEqual(heard, [
    [id, undefined],
    ["snapshot", undefined],
    ["ready", undefined],
    ["frame", ["a"]],
    ["commit", ["a"]],
    ["ping", ["a", "b"]],
  ])
})

test("a tap that throws is reported and disturbs nothing", async () => {
  const { api, server, errors } = await started({
    tap: () => {
      throw new Error("broken panel")
    },
  })
  const live = follow(api.tasks)
  server.subscribed("g1", [{ id: "a" }])
  await settled()
  assert.deepEqual(ids(live.last), ["a"])
  assert.deepEqual(errors.map(({ message }) => message), Array(3).fill("broken panel"))
  assert.equal(server.socket.isClosed, false)
})

test("only a connection that lasted begins the backoff anew", async () => {
  const all = await started()
  const { server, clock } = all
  await reconnect(all)
  await server.lose()
  assert.equal(clock.nextIn, 500)
  await clock.advance(500)
  await server.accept()
  await clock.advance(15_000)
  await server.lose()
  assert.equal(clock.nextIn, 250)
})

test("status is told to watchers", async () => {
  const all = start()
  const seen = []
  const stop = all.api.onStatus((status) => seen.push(status))
  await all.server.accept()
  await reconnect(all)
  all.api.close()
  stop()
  assert.deepEqual(seen, ["open", "waiting", "connecting", "open", "closed"])
})

test("bye finishes what is under way, keeps new calls, and comes back when asked to", async () => {
  const { api, server, clock } = await started()
  const first = api.tasks.create({ n: 1 })
  server.notify("bye", { retry_in: 1200 })
  const second = api.tasks.create({ n: 2 })
  assert.equal(server.count("tasks.create"), 1)
  assert.equal(api.status, "open")
  server.answer(server.last("tasks.create"), { data: { n: 1 } })
  assert.deepEqual(await first, { n: 1 })
  assert.deepEqual([api.status, server.socket.isClosed, clock.nextIn], ["waiting", true, 1200])
  await clock.advance(1200)
  await server.accept()
  assert.deepEqual(server.last("tasks.create").params, { data: { n: 2 } })
  server.answer(server.last("tasks.create"), { data: { n: 2 } })
  assert.deepEqual(await second, { n: 2 })
})

test("who has nothing to ask answers the first ping, so that the server knows that somebody is there", async () => {
  const { server, clock } = await started()
  await clock.advance(20_000)
  assert.equal(server.count("ping"), 0)
  server.notify("ping")
  server.notify("ping")
  assert.equal(server.count("ping"), 1)
  server.answer(server.last("ping"), {})
  await clock.advance(20_000)
  server.notify("ping")
  assert.equal(server.count("ping"), 1)
})

test("after 45 s of silence it asks, and after 10 more it reconnects", async () => {
  const { api, server, clock } = await started()
  const call = api.call("hello")
  server.answer(server.last("hello"), { data: "hello" })
  await call
  await clock.advance(44_000)
  server.notify("ping")
  await clock.advance(44_999)
  assert.equal(server.count("ping"), 0)
  await clock.advance(1)
  assert.equal(server.count("ping"), 1)
  server.answer(server.last("ping"), {})
  await clock.advance(45_000)
  assert.equal(server.count("ping"), 2)
  await clock.advance(9_999)
  assert.equal(api.status, "open")
  await clock.advance(1)
  assert.equal(api.status, "waiting")
  assert.ok(server.socket.isClosed)
})

test("a connection that never opens is given up", async () => {
  const { api, server, clock } = start()
  await clock.advance(45_000)
  assert.equal(api.status, "waiting")
  assert.ok(server.socket.isClosed)
})

test("a page that comes back does not wait any longer, and checks a connection that seems open", async () => {
  const { page, server, clock } = await started()
  page.dispatchEvent(new Event("visibilitychange"))
  page.dispatchEvent(new Event("online"))
  assert.equal(server.count("ping"), 1)
  await server.lose()
  page.dispatchEvent(new Event("online"))
  assert.equal(server.sockets.length, 2)
  await clock.advance(10_000)
  assert.equal(server.sockets.length, 2)
})

test("calls under way when the connection is lost reject, for their outcome is unknown", async () => {
  const { api, server } = await started()
  const calls = [api.tasks.create({ n: 1 }), api.tasks.replace("a", {}), api.call("send-mail")]
  const rejections = calls.map((call) => assert.rejects(call, { code: "disconnected", status: 0 }))
  await server.lose()
  await Promise.all(rejections)
})

test("reads under way are sent again", async () => {
  const all = await started()
  const { api, server } = all
  const reads = [api.tasks.list(), api.tasks.get("a"), api.read("overdue").get()]
  await reconnect(all)
  for (const method of ["tasks.list", "tasks.read", "overdue"]) {
    assert.equal(server.count(method), 2)
    server.answer(server.last(method), { data: [] })
  }
  await Promise.all(reads)
})

test("a read that ends three connections is not sent a fourth time", async () => {
  const all = await started()
  const rejection = assert.rejects(all.api.tasks.list(), { code: "disconnected" })
  await reconnect(all)
  await reconnect(all)
  await all.server.lose(1009)
  await rejection
  assert.equal(all.server.count("tasks.list"), 3)
})

test("a subscription is resumed from the last commit, keeping what it holds", async () => {
  const all = await started()
  const { api, server } = all
  const tasks = follow(api.tasks)
  const first = server.subscribed("g1", [{ id: "a" }, { id: "b" }], { cursor: "c1" })
  server.commit("c7")
  server.frame("g1", { added: [{ id: "never committed" }] })
  await reconnect(all)
  const call = server.last("subscribe")
  const { sub } = call.params
  assert.notEqual(sub, first)
  assert.deepEqual(call.params, { sub, resource: "tasks", query: {}, cursor: "c7", key: "key-g1" })
  server.answer(call, { sub, group: "g9", key: "key-g1", lane: "exact", resumed: true, sort: BY_ID, key_field: "id" })
  server.notify("frame", { sub, added: [{ id: "c" }], removed: ["a"] })
  server.frame("g9", { removed: ["c"] }) // for others of the group: this one is not ready
  server.commit("c8")
  assert.deepEqual(tasks.seen.map(ids), [["a", "b"], ["b", "c"]])
  server.notify("ready", { sub, cursor: "c9" })
  server.frame("g9", { added: [{ id: "d" }] })
  server.commit("c10")
  assert.deepEqual(ids(tasks.last), ["b", "c", "d"])
  assert.equal(tasks.last[0], tasks.seen[0][1])
  await settled()
  assert.deepEqual(tasks.statuses, ["live", "stale", "live"])
})

test("a commit's cursor belongs only to what was ready when it came", async () => {
  const all = await started()
  const { api, server } = all
  follow(api.tasks)
  server.subscribed("g1", [{ id: "a" }], { cursor: "c1" })
  follow(api.notes)
  const call = server.last("subscribe")
  server.answer(call, { sub: call.params.sub, group: "g2", key: "key-g2", lane: "exact", resumed: false, sort: BY_ID })
  server.commit("c2")
  await reconnect(all)
  const asked = server.sent.slice(-2).map(({ params: { resource, cursor } }) => [resource, cursor])
  assert.deepEqual(asked, [["tasks", "c2"], ["notes", undefined]])
})

test("a resume that is cut off begins again from the same position", async () => {
  const all = await started()
  const { api, server } = all
  follow(api.tasks)
  server.subscribed("g1", [], { cursor: "c1" })
  await reconnect(all)
  const call = server.last("subscribe")
  server.answer(call, { ...call.params, group: "g1", lane: "exact", resumed: true, sort: BY_ID })
  server.commit("c5") // of another subscription
  await reconnect(all)
  assert.equal(server.last("subscribe").params.cursor, "c1")
})

test("a subscription that cannot be resumed shows nothing else until its new set is complete", async () => {
  const all = await started()
  const { api, server } = all
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a" }])
  await reconnect(all)
  const call = server.last("subscribe")
  const { sub } = call.params
  server.answer(call, { sub, group: "g2", key: "other", lane: "exact", resumed: false, sort: BY_ID, key_field: "id" })
  server.notify("reset", { sub, reason: "rights" })
  server.notify("snapshot", { sub, records: [{ id: "b" }] })
  assert.deepEqual(tasks.seen.map(ids), [["a"]])
  await reconnect(all) // What is held belongs to other rights: it must not be resumed.
  assert.equal(server.last("subscribe").params.cursor, undefined)
  server.subscribed("g2", [{ id: "b" }])
  assert.deepEqual(tasks.seen.map(ids), [["a"], ["b"]])
})

test("a new snapshot keeps the objects of records that did not change", async () => {
  const all = await started()
  const { api, server } = all
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a", tags: ["x"] }, { id: "b", n: 1 }])
  await reconnect(all)
  server.subscribed("g1", [{ id: "a", tags: ["x"] }, { id: "b", n: 2 }])
  assert.equal(tasks.last[0], tasks.seen[0][0])
  assert.deepEqual(tasks.last[1], { id: "b", n: 2 })
  await reconnect(all)
  server.subscribed("g1", [{ id: "a", tags: ["x"] }, { id: "b", n: 2 }])
  assert.equal(tasks.seen.length, 2)
})

test("a confirmed write stays on show over a reconnect until the new connection covers it", async () => {
  const all = await started()
  const { api, server } = all
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a", n: 1 }])
  const updating = api.tasks.update("a", { n: 2 })
  server.answer(server.last("tasks.update"), { data: { id: "a", n: 2 } })
  await updating
  await reconnect(all)
  server.subscribed("g1", [{ id: "a", n: 2 }])
  server.frame("g1", { changed: [{ key: "a", fields: { n: 3 } }] })
  server.commit()
  assert.deepEqual(tasks.seen.map(([{ n }]) => n).filter((n, i, all) => n !== all[i - 1]), [1, 2, 3])
})

test("an interrupted write is not shown any longer", async () => {
  const all = await started()
  const { api, server } = all
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a", n: 1 }])
  const rejection = assert.rejects(api.tasks.update("a", { n: 2 }), { code: "disconnected" })
  await server.lose()
  await rejection
  assert.deepEqual(tasks.seen.map(([{ n }]) => n), [1, 2, 1])
})

test("a write made while waiting is shown at once and sent later", async () => {
  const all = await started()
  const { api, server, clock } = all
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a", n: 1 }])
  await server.lose()
  api.tasks.update("a", { n: 2 }).catch(() => {})
  assert.equal(tasks.last[0].n, 2)
  assert.equal(server.count("tasks.update"), 0)
  await clock.advance(clock.nextIn)
  await server.accept()
  assert.equal(server.count("tasks.update"), 1)
})

test("the token goes first on every connection, and everything else waits for its answer", async () => {
  const tokens = ["t1", "t2"]
  const all = start({ token: async () => tokens.shift() })
  const { api, server } = all
  follow(api.tasks)
  await server.accept()
  assert.deepEqual(server.sent.map(({ method, params }) => [method, params.token]), [["auth", "t1"]])
  server.answer(server.last("auth"), { actor: { id: 7, roles: [] } })
  await settled()
  assert.equal(server.count("subscribe"), 1)
  await reconnect(all)
  assert.equal(server.last("auth").params.token, "t2")
})

test("a refused token is reported and the page goes on as nobody", async () => {
  const { api, server, errors } = start({ token: "old" })
  follow(api.tasks)
  await server.accept()
  server.refuse(server.last("auth"), { status: 401, code: "unauthenticated", title: "Unauthenticated" })
  await settled()
  assert.deepEqual(errors.map(({ code }) => code), ["unauthenticated"])
  assert.equal(server.count("subscribe"), 1)
})

test("auth() moves live queries in place: only what differs comes, and is shown with its commit", async () => {
  const all = await started()
  const { api, server } = all
  const tasks = follow(api.tasks)
  const sub = server.subscribed("g1", [{ id: "a" }, { id: "b" }])
  const signing = api.auth("t1")
  server.answer(server.last("auth"), { actor: { id: 7, roles: ["staff"] } })
  assert.deepEqual(await signing, { id: 7, roles: ["staff"] })
  server.notify("rights", { sub, group: "g2", key: "key-g2", lane: "exact", sort: BY_ID })
  server.notify("frame", { sub, added: [{ id: "c" }], removed: ["a"] })
  assert.deepEqual(tasks.seen.map(ids), [["a", "b"]])
  server.commit("c2")
  server.frame("g1", { added: [{ id: "d" }] })
  server.frame("g2", { added: [{ id: "e" }] })
  server.commit("c3")
  assert.deepEqual(tasks.seen.map(ids), [["a", "b"], ["b", "c"], ["b", "c", "e"]])
  assert.deepEqual([server.count("subscribe"), server.count("unsubscribe")], [1, 0])
  await reconnect(all)
  assert.equal(server.last("auth").params.token, "t1")
  server.answer(server.last("auth"), { actor: { id: 7, roles: ["staff"] } })
  await settled()
  assert.deepEqual([server.last("subscribe").params.cursor, server.last("subscribe").params.key], ["c3", "key-g2"])
})

test("a move that is cut off before its commit is not resumed with the new key", async () => {
  const all = await started()
  const { api, server } = all
  follow(api.tasks)
  const sub = server.subscribed("g1", [{ id: "a" }])
  server.notify("rights", { sub, group: "g2", key: "key-g2", lane: "exact", sort: BY_ID })
  await reconnect(all)
  assert.equal("cursor" in server.last("subscribe").params, false)
})

test("a move that changes nothing is resumed from its ready on", async () => {
  const all = await started()
  const { api, server } = all
  const tasks = follow(api.tasks)
  const sub = server.subscribed("g1", [{ id: "a" }])
  server.notify("rights", { sub, group: "g2", key: "key-g2", lane: "exact", sort: BY_ID })
  server.notify("ready", { sub, cursor: "c2" })
  await reconnect(all)
  assert.deepEqual([server.last("subscribe").params.cursor, tasks.seen.length], ["c2", 1])
})

test("a token that is about to expire is replaced in place, by onExpiring or by the function that makes tokens", async () => {
  for (const made of [{ token: "t1", onExpiring: async () => "t2" }, { token: fresh("t1", "t2") }]) {
    const { server } = await introduced(made)
    server.notify("auth_expiring", { in: 60 })
    await settled()
    assert.deepEqual(server.sent.map(({ params }) => params.token), ["t1", "t2"])
  }
})

test("without a new token nothing is shown when the present one is about to expire", async () => {
  for (const made of [{ token: "t1" }, { token: "t1", onExpiring: () => {} }, { token: null }]) {
    const { server } = await introduced(made)
    const before = server.sent.length
    server.notify("auth_expiring", { in: 60 })
    await settled()
    assert.equal(server.sent.length, before)
  }
})

test("auth() while a new token is being made wins", async () => {
  let make
  const all = await introduced({ token: "t1", onExpiring: () => new Promise((resolve) => (make = resolve)) })
  const { api, server } = all
  server.notify("auth_expiring", { in: 60 })
  const signing = api.auth("other")
  server.answer(server.last("auth"), { actor: { id: 8, roles: [] } })
  await signing
  make("t2")
  await settled()
  assert.deepEqual(server.sent.map(({ params }) => params.token), ["t1", "other"])
  await reconnect(all)
  assert.equal(server.last("auth").params.token, "other")
})

test("after a close because of the credentials onExpiring is asked first, and the queries are resumed", async () => {
  const made = fresh("t2", "t3")
  const { api, server, clock } = await introduced({ token: "t1", onExpiring: made })
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a" }])
  server.notify("problem", { problem: { status: 401, code: "unauthorized" } })
  await server.lose(4401)
  await clock.advance(clock.nextIn)
  await server.accept()
  assert.equal(server.last("auth").params.token, "t2")
  server.answer(server.last("auth"), { actor: { id: 7, roles: [] } })
  await settled()
  assert.equal(server.last("subscribe").params.cursor, "c1")
  assert.deepEqual(tasks.errors, [])
  await reconnect({ server, clock })
  assert.equal(server.last("auth").params.token, "t2")
})

test("an onExpiring that fails is reported", async () => {
  const failing = { token: "t1", onExpiring: () => Promise.reject(new Error("offline")) }
  const { server, errors } = await introduced(failing)
  server.notify("auth_expiring", { in: 60 })
  await settled()
  assert.deepEqual(errors.map(({ message }) => message), ["offline"])
})

test("a token that auth() was refused is not used again", async () => {
  const all = await started({ token: null })
  const { api, server } = all
  const signing = assert.rejects(api.auth("wrong"), { code: "unauthenticated" })
  server.refuse(server.last("auth"), { status: 401, code: "unauthenticated", title: "Unauthenticated" })
  await signing
  await reconnect(all)
  assert.equal(server.count("auth"), 1)
})

test("a message that is no JSON begins a new connection", async () => {
  const { api, server, errors } = await started()
  server.socket.onmessage({ data: "{" })
  assert.equal(api.status, "waiting")
  assert.equal(errors.length, 1)
})

test("a server that refuses the origin is not tried again", async () => {
  const { api, server, clock } = await started()
  const tasks = follow(api.tasks)
  const calling = api.call("x")
  await Promise.all([server.lose(1008), assert.rejects(calling, { code: "refused" })])
  assert.deepEqual(tasks.errors.map(({ code }) => code), ["refused"])
  assert.deepEqual([api.status, clock.waiting], ["closed", 0])
})

test("close() leaves nothing behind", async () => {
  const { api, server, clock, page, errors } = await started()
  const tasks = follow(api.tasks)
  server.subscribed("g1", [{ id: "a" }])
  const call = api.call("x")
  api.close()
  api.close()
  await assert.rejects(call, { code: "closed" })
  await assert.rejects(api.tasks.list(), { code: "closed" })
  api.tasks.live(() => assert.fail("it is closed"))
  page.dispatchEvent(new Event("online"))
  server.commit()
  await clock.advance(100_000)
  assert.deepEqual([clock.waiting, server.sockets.length, server.socket.isClosed, errors], [0, 1, true, []])
  assert.deepEqual([tasks.seen.length, tasks.errors, tasks.statuses.at(-1)], [1, [], "ended"])
})

test("close() while waiting cancels the next attempt", async () => {
  const { api, server, clock } = await started()
  await server.lose()
  api.close()
  assert.deepEqual([api.status, clock.waiting], ["closed", 0])
})

test("real timers do not keep a closed client alive", async () => {
  const server = new FakeServer()
  const api = connect({ url: "ws://example.org/ws", WebSocket: server.WebSocket })
  const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
  api.close()
  const after = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
  assert.equal(before - after, 1)
})

test("a thousand calls may wait, and no more", async () => {
  const { api } = start()
  for (let i = 0; i < 1_000; i++) api.call("x").catch(() => {})
  await assert.rejects(api.call("x"), { code: "too_many_calls" })
})

test("each connection begins with a ticket of its own", async () => {
  const { server, clock } = start({ ticket: fresh("crt_a b", "crt_2"), url: "wss://api.example/ws?x=1" })
  assert.deepEqual(server.sockets, [])
  await settled()
  assert.deepEqual(server.sockets.map(({ url }) => url), ["wss://api.example/ws?x=1&ticket=crt_a+b"])
  await server.accept()
  await server.lose(4401)
  await clock.advance(clock.nextIn)
  await settled()
  assert.equal(server.socket.url, "wss://api.example/ws?x=1&ticket=crt_2")
})

test("where there is no ticket the connection is made without one", async () => {
  const { server } = start({ ticket: async () => null, url: "wss://api.example/ws" })
  await settled()
  assert.equal(server.socket.url, "wss://api.example/ws")
})

test("a ticket that cannot be had is reported and asked for again", async () => {
  const errors = []
  let asked = 0
  const ticket = async () => {
    if (asked++ === 0) throw new Error("offline")
    return "crt_1"
  }
  const { api, server, clock } = start({ ticket, url: "wss://api.example/ws", onError: (error) => errors.push(error.message) })
  await settled()
  assert.deepEqual([errors, server.sockets.length, api.status], [["offline"], 0, "waiting"])
  await clock.advance(clock.nextIn)
  await settled()
  assert.equal(server.socket.url, "wss://api.example/ws?ticket=crt_1")
})

test("a ticket that never comes is not waited for, and one that comes late opens nothing", async () => {
  const makers = []
  const ticket = () => new Promise((resolve) => makers.push(resolve))
  const { api, server, clock } = start({ ticket, url: "wss://api.example/ws" })
  await clock.advance(45_000)
  assert.equal(api.status, "waiting")
  makers[0]("crt_late")
  await settled()
  assert.deepEqual(server.sockets, [])
  await clock.advance(clock.nextIn)
  makers[1]("crt_2")
  await settled()
  assert.deepEqual(server.sockets.map(({ url }) => url), ["wss://api.example/ws?ticket=crt_2"])
})

test("a client that is closed while its ticket is made opens nothing", async () => {
  let make
  const { api, server } = start({ ticket: () => new Promise((resolve) => (make = resolve)), url: "wss://api.example/ws" })
  api.close()
  make("crt_1")
  await settled()
  assert.deepEqual([server.sockets.length, api.status], [0, "closed"])
})
