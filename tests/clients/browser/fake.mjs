// A server, a clock and a page for tests: everything happens when the test says so.

import { connect } from "../../../src/crudite/interfaces/browser/crudite.js"

/** Speaks the server's side of docs/reference/wire.md, one message at a time. */
export class FakeServer {
  sockets = []
  sent = [] // by the client, over all connections

  constructor() {
    const server = this
    this.WebSocket = class {
      constructor(url, protocols) {
        Object.assign(this, { url, protocols, isClosed: false })
        server.sockets.push(this)
      }
      send(text) {
        server.sent.push(JSON.parse(text))
      }
      close() {
        this.isClosed = true
      }
    }
  }

  get socket() {
    return this.sockets.at(-1)
  }

  async accept() {
    this.socket.onopen()
    await settled()
  }

  async lose(code = 1006) {
    this.socket.onclose({ code })
    await settled()
  }

  say(message) {
    this.socket.onmessage?.({ data: JSON.stringify(message) })
  }

  notify(method, params) {
    this.say({ jsonrpc: "2.0", method, params })
  }

  answer(call, result) {
    this.say({ jsonrpc: "2.0", id: call.id, result })
  }

  refuse(call, problem) {
    this.say({ jsonrpc: "2.0", id: call.id, error: { code: problem.status, message: problem.title, data: problem } })
  }

  /** The newest call of a method. */
  last(method) {
    return this.sent.findLast((call) => call.method === method)
  }

  count(method) {
    return this.sent.filter((call) => call.method === method).length
  }

  /** Answer the newest subscription with a whole snapshot; returns the name that the client chose. */
  subscribed(group, records, { sort = BY_ID, cursor = "c1", more = {} } = {}) {
    const call = this.last("subscribe")
    const { sub } = call.params
    this.answer(call, { sub, group, key: `key-${group}`, lane: "exact", resumed: false, sort, key_field: "id" })
    this.notify("snapshot", { sub, records, ...more })
    this.notify("ready", { sub, cursor })
    return sub
  }

  frame(group, events) {
    this.notify("frame", { group, ...events })
  }

  commit(cursor = "c2") {
    this.notify("commit", { cursor })
  }
}

export const BY_ID = [{ field: "id", descending: false, type: "uuid" }]

/** Timers that go off when the test moves the time. */
export class FakeClock {
  time = 1_000_000
  #timers = new Map()
  #last = 0

  setTimeout = (run, milliseconds) => {
    this.#timers.set(++this.#last, { run, at: this.time + milliseconds })
    return this.#last
  }
  clearTimeout = (timer) => void this.#timers.delete(timer)
  now = () => this.time

  get waiting() {
    return this.#timers.size
  }

  get nextIn() {
    return Math.min(...[...this.#timers.values()].map(({ at }) => at)) - this.time
  }

  async advance(milliseconds) {
    const end = this.time + milliseconds
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0]
      if (!due) break
      this.#timers.delete(due[0])
      this.time = due[1].at
      due[1].run()
      await settled()
    }
    this.time = end
    await settled()
  }
}

/** Every promise that can go on has gone on. */
export const settled = () => new Promise((resolve) => setImmediate(resolve))

/** A client of a fake server; `errors` is what it reported. */
export function start(options = {}) {
  const server = new FakeServer()
  const clock = new FakeClock()
  const page = new EventTarget()
  const errors = []
  const api = connect({
    url: "http://example.org/ws",
    WebSocket: server.WebSocket,
    timers: clock,
    page,
    random: () => 1,
    onError: (error) => errors.push(error),
    ...options,
  })
  return { api, server, clock, page, errors }
}

/** The same, when the server has accepted the connection. */
export async function started(options) {
  const all = start(options)
  await all.server.accept()
  return all
}

/** A live query whose calls are kept: `seen` holds the argument of each. */
export function follow(query) {
  const seen = []
  const errors = []
  const statuses = []
  const stop = query.live((shown) => seen.push(shown), {
    onError: (error) => errors.push(error),
    onStatus: (status) => statuses.push(status),
  })
  return { seen, errors, statuses, stop, get last() { return seen.at(-1) } }
}

export const ids = (rows) => rows.map(({ id }) => id)
