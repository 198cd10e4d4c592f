// Channels: what is told at the moment, who is there, and what becomes of it when the connection is lost.

import assert from "node:assert/strict"
import { test } from "node:test"

import { settled, started } from "./fake.mjs"

const ann = { member: "m1", id: "ann", state: null }
const bob = { member: "m2", id: "bob", state: null }

/** A page in a channel, and all that it is told. */
function listen(api, options = {}) {
  const heard = { events: [], presence: [], errors: [] }
  heard.stop = api.channel("rooms/7").join({
    onEvent: (told) => heard.events.push(told),
    onPresence: (members, count) => heard.presence.push([members?.map(({ id }) => id) ?? null, count]),
    onError: (error) => heard.errors.push(error.code),
    ...options,
  })
  return heard
}

test("a page hears what is told in a channel, and tells it", async () => {
  const { api, server } = await started()
  const heard = listen(api)
  assert.equal(server.last("join").params.channel, "rooms/7")
  server.answer(server.last("join"), { channel: "rooms/7", member: "m1" })
  server.notify("event", { channel: "rooms/7", event: "bell", data: 1 })
  server.notify("event", { channel: "rooms/8", event: "bell", data: 2 })
  const published = api.channel("rooms/7").publish("typing", { at: 3 })
  assert.deepEqual(server.last("publish").params, { channel: "rooms/7", event: "typing", data: { at: 3 } })
  server.answer(server.last("publish"), {})
  await published
  assert.deepEqual(heard.events, [{ event: "bell", data: 1, from: null }])
  assert.deepEqual([heard.presence, heard.errors], [[], []])
})

test("who is there is kept by the differences that are told", async () => {
  const { api, server } = await started()
  const heard = listen(api, { state: "here" })
  assert.equal(server.last("join").params.state, "here")
  server.answer(server.last("join"), { channel: "rooms/7", member: "m1", count: 1, members: [ann] })
  server.notify("presence", { channel: "rooms/7", count: 2, joined: [bob] })
  server.notify("presence", { channel: "rooms/7", count: 1, left: ["m1"] })
  server.notify("presence", { channel: "rooms/7", count: 300 })
  server.notify("presence", { channel: "rooms/7", count: 2, members: [ann, bob] })
  assert.deepEqual(heard.presence, [[["ann"], 1], [["ann", "bob"], 2], [["bob"], 1], [null, 300], [["ann", "bob"], 2]])
})

test("a page comes back as the same member when the connection was lost", async () => {
  const { api, server, clock } = await started()
  const heard = listen(api)
  const first = server.last("join")
  assert.ok(first.params.as.length >= 16)
  server.answer(first, { channel: "rooms/7", member: "m1" })
  await server.lose()
  await clock.advance(60_000)
  await server.accept()
  const again = server.last("join")
  assert.notEqual(again, first)
  assert.deepEqual(again.params, first.params)
  server.answer(again, { channel: "rooms/7", member: "m1" })
  server.notify("event", { channel: "rooms/7", event: "bell", data: 1 })
  assert.equal(heard.events.length, 1)
})

test("two listeners share one channel, which is left with the last of them", async () => {
  const { api, server } = await started()
  const [one, other] = [listen(api), listen(api)]
  assert.equal(server.count("join"), 1)
  server.answer(server.last("join"), { channel: "rooms/7", member: "m1", count: 1, members: [ann] })
  const late = listen(api)
  await settled()
  assert.deepEqual(late.presence, [[["ann"], 1]])
  one.stop()
  late.stop()
  server.notify("event", { channel: "rooms/7", event: "bell", data: 1 })
  assert.deepEqual([one.events.length, other.events.length], [0, 1])
  assert.equal(server.count("leave"), 0)
  other.stop()
  assert.deepEqual(server.last("leave").params, { channel: "rooms/7" })
})

test("a channel that may not be joined, or has ended, is told once and over", async () => {
  const { api, server, clock } = await started()
  const refused = listen(api)
  server.refuse(server.last("join"), { status: 404, code: "not_found", title: "Not found" })
  await settled()
  const ended = listen(api)
  server.answer(server.last("join"), { channel: "rooms/7", member: "m1" })
  server.notify("problem", { channel: "rooms/7", problem: { status: 404, code: "not_found", title: "Not found" } })
  server.notify("event", { channel: "rooms/7", event: "bell", data: 1 })
  assert.deepEqual([refused.errors, ended.errors, ended.events], [["not_found"], ["not_found"], []])
  const joins = server.count("join")
  await server.lose()
  await clock.advance(60_000)
  await server.accept()
  assert.equal(server.count("join"), joins)
})

test("a page that joins too often joins again when it was told to", async () => {
  const { api, server, clock } = await started()
  const heard = listen(api)
  const problem = { status: 429, code: "too_many_requests", title: "Too many requests", retry_in: 500 }
  server.refuse(server.last("join"), problem)
  await settled()
  assert.equal(server.count("join"), 1)
  await clock.advance(500)
  assert.equal(server.count("join"), 2)
  assert.deepEqual(heard.errors, [])
})
