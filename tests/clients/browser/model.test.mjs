// After random writes, lost connections and resets, every live query shows what a fresh query would.
//
// The server below keeps one table and a log of it, and cuts connections after any message. Whatever the client
// shows must be the answer to its query at some position of the log, the same for all its queries at once.

import assert from "node:assert/strict"
import { test } from "node:test"

import { compareRecords } from "../../../src/crudite/interfaces/browser/crudite.js"
import { BY_ID, settled, start } from "./fake.mjs"

/** Random numbers that are the same in every run (Mulberry32). */
const randomFrom = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const QUERIES = [
  { name: "all", query: {}, sort: BY_ID },
  { name: "red", query: { where: { colour: "red" } }, sort: BY_ID },
  {
    name: "lowest",
    query: { sort: ["n"], limit: 3 },
    sort: [{ field: "n", type: "integer" }, { field: "id", type: "uuid" }],
  },
]

/** The answer to a query over one state of the table: the oracle. */
function answerTo({ query, sort }, table) {
  const rows = [...table.values()].filter(({ colour }) => colour === (query.where?.colour ?? colour))
  return rows.sort(compareRecords(sort)).slice(0, query.limit ?? rows.length)
}

/** The events that lead from one answer to another. */
function difference(before, after) {
  const [old, now] = [before, after].map((rows) => new Map(rows.map((row) => [row.id, row])))
  const added = after.filter(({ id }) => !old.has(id))
  const changed = after
    .filter((row) => old.has(row.id) && old.get(row.id).version !== row.version)
    .map(({ id, ...fields }) => ({ key: id, fields, absent: [] }))
  return { added, changed, removed: [...old.keys()].filter((id) => !now.has(id)) }
}

class ModelServer {
  states = [new Map()] // by position
  #subs = new Map()
  #written = []
  #sent = 0 // position that the present connection has reached

  constructor(fake, random) {
    Object.assign(this, { fake, random, heard: 0 })
  }

  get head() {
    return this.states.length - 1
  }

  pick(count) {
    return Math.floor(this.random() * count)
  }

  write(id, fields) {
    const table = new Map(this.states.at(-1))
    if (fields) table.set(id, { ...table.get(id), ...fields, id, version: this.states.length })
    else table.delete(id)
    this.states.push(table)
  }

  accepted() {
    this.#subs.clear()
    this.#written = []
    this.#sent = this.head
  }

  /** Answer what has come in; some of it before, some after the next writes. */
  hear() {
    while (this.heard < this.fake.sent.length) {
      const call = this.fake.sent[this.heard++]
      if (call.method === "subscribe") this.#subscribe(call)
      else if (call.method === "unsubscribe") this.fake.answer(call, {})
      else if (call.method === "ping") this.fake.answer(call, {})
      else this.#perform(call)
    }
  }

  #subscribe(call) {
    const { sub, cursor, key, query } = call.params
    const spec = QUERIES.find((one) => JSON.stringify(one.query) === JSON.stringify(query))
    const resumed = cursor !== undefined && key === spec.name && this.random() < 0.7
    this.tick() // All subscriptions of a connection are at one position.
    this.#subs.set(sub, spec)
    const { name, sort } = spec
    this.fake.answer(call, { sub, group: name, key: name, lane: "exact", resumed, sort, key_field: "id" })
    if (resumed) {
      this.fake.notify("frame", { sub, ...this.#missed(spec, Number(cursor), this.#sent) })
      this.fake.commit(String(this.#sent))
    } else this.#snapshot(sub, spec)
    this.fake.notify("ready", { sub, cursor: String(this.#sent) })
  }

  #snapshot(sub, spec) {
    const rows = answerTo(spec, this.states[this.#sent])
    const half = this.pick(rows.length + 1)
    this.fake.notify("snapshot", { sub, records: rows.slice(0, half) })
    this.fake.notify("snapshot", { sub, records: rows.slice(half) })
  }

  #missed(spec, from, to) {
    return difference(answerTo(spec, this.states[from]), answerTo(spec, this.states[to]))
  }

  #perform(call) {
    const { key, data } = call.params
    const id = key ?? data.id
    if (this.random() < 0.2) return this.fake.refuse(call, { status: 409, code: "conflict", title: "Conflict" })
    if (call.method === "t.update" && !this.states.at(-1).has(id)) {
      return this.fake.refuse(call, { status: 404, code: "not_found", title: "Not found" })
    }
    this.write(id, call.method === "t.delete" ? undefined : data)
    this.#written.push(call.id)
    this.fake.answer(call, { data: this.states.at(-1).get(id), after: String(this.head) })
  }

  /** Send what is new: frames, their commit, the acks; between any two the connection may be lost. */
  tick() {
    const [from, to] = [this.#sent, this.head]
    const names = new Set([...this.#subs.values()].map(({ name }) => name))
    for (const spec of QUERIES.filter(({ name }) => names.has(name))) {
      if (this.random() < 0.1) this.#reset(spec)
      this.fake.frame(spec.name, this.#missed(spec, from, to))
    }
    this.#sent = to
    this.fake.commit(String(to))
    if (this.#written.length) this.fake.notify("acks", { ids: this.#written.splice(0) })
  }

  /** The same set again, at the position that the connection has reached. */
  #reset(spec) {
    const [sub] = [...this.#subs].find(([, { name }]) => name === spec.name)
    this.fake.notify("reset", { sub, reason: "gap" })
    this.#snapshot(sub, spec)
    this.fake.notify("ready", { sub, cursor: String(this.#sent) })
  }
}

async function history(seed, writesThroughClient) {
  const random = randomFrom(seed)
  const { api, server: fake, clock, errors } = start({ random })
  const model = new ModelServer(fake, random)
  const shown = new Map()
  const statuses = new Map()
  if (!writesThroughClient) afterEveryMessage(fake, () => check(model, shown, statuses, seed))
  for (const { name, query } of QUERIES) {
    let live = api.t
    if (query.where) live = live.where(query.where)
    if (query.sort) live = live.order(...query.sort).limit(query.limit)
    live.live((rows) => shown.set(name, rows), { onStatus: (status) => statuses.set(name, status) })
  }
  const fields = () => ({ colour: ["red", "blue"][model.pick(2)], n: model.pick(5) })
  const key = () => `k${model.pick(8)}`
  const connected = async () => {
    model.heard = fake.sent.length
    await fake.accept()
    model.accepted()
    model.hear()
  }
  await connected()
  for (let step = 0; step < 60; step++) {
    const dice = random()
    if (dice < 0.4) model.write(key(), random() < 0.7 ? fields() : undefined)
    else if (dice < 0.65) model.tick()
    else if (dice < 0.75) {
      await fake.lose()
      model.write(key(), fields())
      await clock.advance(clock.nextIn)
      await connected()
    } else if (writesThroughClient) {
      const writes = [
        () => api.t.create({ id: key(), ...fields() }),
        () => api.t.update(key(), fields()),
        () => api.t.delete(key()),
      ]
      writes[model.pick(3)]().catch(() => {})
      if (random() < 0.6) model.hear()
    }
    await settled()
  }
  model.hear()
  await settled()
  model.tick()
  await settled()
  model.tick()
  const table = model.states.at(-1)
  for (const spec of QUERIES) assert.deepEqual(shown.get(spec.name), answerTo(spec, table), `seed ${seed}`)
  assert.deepEqual(errors, [])
  api.close()
  assert.equal(clock.waiting, 0)
}

/** @param {() => void} look */
function afterEveryMessage(fake, look) {
  const say = fake.say.bind(fake)
  fake.say = (message) => {
    say(message)
    look()
  }
}

/** One position explains everything on show, as soon as all of it is live. */
function check(model, shown, statuses, seed) {
  if (QUERIES.some(({ name }) => statuses.get(name) !== "live")) return
  const texts = QUERIES.map(({ name }) => textOf(shown.get(name)))
  const explains = (table) => QUERIES.every((spec, i) => textOf(answerTo(spec, table)) === texts[i])
  assert.ok(model.states.some(explains), `seed ${seed}: no position has what is shown`)
}

const textOf = (rows) => JSON.stringify(rows.map(({ id, colour, n, version }) => [id, colour, n, version]))

test("at every moment one position of the log explains what all live queries show", async () => {
  for (let seed = 1; seed <= 60; seed++) await history(seed, false)
})

test("with optimistic writes of its own, too, a client ends at what a fresh query answers", async () => {
  for (let seed = 1; seed <= 60; seed++) await history(seed, true)
})
