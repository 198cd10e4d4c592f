// The browser client: calls, live queries and optimistic writes of one page, over one WebSocket.
//
// It speaks what docs/reference/wire.md describes. From the top of the file to its end:
//
//   errors · sorting · optimistic guesses · subscriptions · the line · the client · what an application calls
//
// A `Line` keeps a socket open: backoff, silence, waking up. A `Client` knows what is under way on it: calls,
// subscriptions, guesses. A `Subscription` holds one set of records and does no input or output at all:
//
//              answer: resumed                 ready
//      asked ───────────────────► resuming ─────────────► live
//        │                                                ▲ │
//        │     answer: not resumed            ready       │ │ reset
//        └───────────────────────► loading ───────────────┘ │
//                                     ▲─────────────────────┘
//
// A lost connection puts every subscription back to `asked`. What it holds stays on show until the new set is
// complete, so that nothing flashes. Frames are kept until their `commit` and then applied to all subscriptions
// before any callback is called: a page never sees half of a transaction.

/** @typedef {Record<string, any>} Fields one record, or a part of one, as plain data */
/** @typedef {string | number} Key */
/** @typedef {{field: string, descending?: boolean, type?: string}} SortField */
/** @typedef {"connecting" | "open" | "waiting" | "closed"} Status of the connection */
/** @typedef {"loading" | "live" | "stale" | "ended"} LiveStatus of one live query */
/** @typedef {Record<string, any>} QueryJson a query as docs/reference/wire.md writes it */

const SUBPROTOCOL = "crudite.v1"
const FIRST_BACKOFF = 250 // All times are in milliseconds.
const LONGEST_BACKOFF = 15_000
const LONGEST_SILENCE = 45_000
const PROBE_PATIENCE = 10_000
const MOST_SENDS_OF_A_READ = 3
const MOST_CALLS = 1_000
const MOST_PINGS_WITHOUT_ACK = 2
const ORIGIN_REFUSED = 1008
const CREDENTIALS_OVER = 4401

// ─── errors ──────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A call or a subscription that failed. `problem` is the server's RFC 9457 object.
 *
 * Four codes are the client's own, with status 0: `disconnected` (the connection was lost while the call was
 * under way: whether the server performed it is unknown), `closed` (by `api.close()`), `refused` (the server
 * does not accept this page's origin) and `too_many_calls` (1,000 calls are waiting already).
 */
export class CruditeError extends Error {
  /** @param {Fields} problem */
  constructor(problem) {
    super(problem.detail ?? problem.title ?? problem.code)
    this.name = "CruditeError"
    this.problem = problem
    /** @type {number} the HTTP status; 0 when the server did not answer */
    this.status = problem.status ?? 0
    /** @type {string} the stable name of what went wrong */
    this.code = problem.code ?? "unknown"
    /** @type {string | undefined} */
    this.detail = problem.detail
    /** @type {{pointer?: string, parameter?: string, code?: string, detail?: string}[]} every fault at once */
    this.errors = problem.errors ?? []
  }
}

const disconnected = () =>
  new CruditeError({
    code: "disconnected",
    detail: "The connection was lost before the answer came: whether the call was performed is unknown.",
  })
const closed = () => new CruditeError({ code: "closed", detail: "The client was closed." })
const refused = () =>
  new CruditeError({ code: "refused", detail: "The server does not accept connections from this page." })
const tooManyCalls = () =>
  new CruditeError({ code: "too_many_calls", detail: `${MOST_CALLS} calls are waiting for an answer.` })

/** An error of JSON-RPC carries our problem, unless it is one of JSON-RPC's own. @param {Fields} error */
const errorOf = ({ code, message, data }) =>
  new CruditeError(data ?? { status: code > 0 ? code : 0, code: "protocol", detail: message })

// ─── sorting ─────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The comparator of a sort, for `Array.prototype.sort`: it orders records as the server does.
 *
 * Null and absent are the lowest value; text goes by code point; `bigint` and `decimal` travel as text and
 * compare by value; false comes before true. A dotted field is a path into nested objects.
 *
 * @param {readonly SortField[]} sort as the answer to a subscription gives it
 * @returns {(a: Fields, b: Fields) => number} negative, zero or positive
 */
export function compareRecords(sort) {
  const steps = sort.map(({ field, descending, type }) => {
    const compare = type === "bigint" || type === "decimal" ? compareNumerals : compareValues
    return { field, compare, sign: descending ? -1 : 1 }
  })
  return (a, b) => {
    for (const { field, compare, sign } of steps) {
      const order = nullsLowest(valueAt(a, field), valueAt(b, field), compare)
      if (order !== 0) return order * sign
    }
    return 0
  }
}

/** @param {any} a @param {any} b @param {(a: any, b: any) => number} compare */
function nullsLowest(a, b, compare) {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null)
  return compare(a, b)
}

/** @param {any} record @param {string} path @returns {any} null when there is nothing */
function valueAt(record, path) {
  if (path in record || !path.includes(".")) return record[path] ?? null
  return path.split(".").reduce((value, name) => value?.[name], record) ?? null
}

/** @param {any} a @param {any} b */
function compareValues(a, b) {
  if (typeof a === "string" || typeof a !== typeof b) return compareText(String(a), String(b))
  return a < b ? -1 : a > b ? 1 : 0
}

/** By code point, where `<` goes by UTF-16 code unit. @param {string} a @param {string} b */
function compareText(a, b) {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x !== y) return codePointRank(x) - codePointRank(y)
  }
  return a.length - b.length
}

/** Surrogates stand for U+10000 and above, so they belong after U+FFFF. @param {number} unit */
const codePointRank = (unit) => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)

/** Decimal text of any length, by value. @param {string | number} a @param {string | number} b */
function compareNumerals(a, b) {
  const [x, y] = [String(a).split("."), String(b).split(".")]
  const places = Math.max(x[1]?.length ?? 0, y[1]?.length ?? 0)
  try {
    const [m, n] = [x, y].map(([whole, fraction = ""]) => BigInt(whole + fraction.padEnd(places, "0")))
    return m < n ? -1 : m > n ? 1 : 0
  } catch {
    return compareText(String(a), String(b)) // Only a guess can hold what is no number; the server will refuse it.
  }
}

// ─── optimistic guesses ──────────────────────────────────────────────────────────────────────────────────────

/**
 * What a write under way will probably do to one record. It lies over the confirmed records until the server
 * refuses the write, or says (`acks`) that what it has sent contains it.
 *
 * @typedef {object} Guess
 * @property {number} id of the call
 * @property {string} resource
 * @property {"create" | "update" | "delete"} action
 * @property {string} key
 * @property {Fields} data
 * @property {boolean} [isCovered] by what the server has sent, or will have sent when all is `ready` again
 * @property {number} [pings] heard since the call was answered
 */

/** The data as the server will read it, cut off from what the caller may change later. @param {any} data */
const asJson = (data) => (data === undefined ? undefined : JSON.parse(JSON.stringify(data)))

/**
 * Whether a record made of `data` belongs to a query beyond doubt. Only a plain conjunction on the record's own
 * fields can say so; a field that is not in the data gets a default that is not known here.
 *
 * @param {QueryJson} query @param {Fields} data
 */
function plainlyHolds({ where = {}, cursor, search }, data) {
  if (cursor || search) return false
  return Object.entries(where).every(([field, condition]) => {
    if (field === "or" || field === "not" || field.includes(".") || !Object.hasOwn(data, field)) return false
    const operators = isObject(condition) ? condition : { eq: condition }
    return Object.entries(operators).every(([name, value]) => plainlyTrue(data[field], name, value))
  })
}

/** @param {any} a @param {string} operator @param {any} b @returns {boolean} false also when it is uncertain */
function plainlyTrue(a, operator, b) {
  if (isNested(a) || isNested(b)) return false
  if (operator === "eq") return a === b
  if (operator === "ne") return a !== b && !mayBeSpeltInTwoWays(a, b)
  if (a === null || typeof a !== typeof b || (typeof a === "string" && !(isDate(a) && isDate(b)))) return false
  if (operator === "lt") return a < b
  if (operator === "lte") return a <= b
  if (operator === "gt") return a > b
  return operator === "gte" && a >= b
}

/** Numbers, times and UUIDs as text, for their type is not known here. @param {any} a @param {any} b */
const mayBeSpeltInTwoWays = (a, b) =>
  a !== null && b !== null &&
  (typeof a !== typeof b || (typeof a === "string" && (/^[-+.\d]/.test(a) || a.toLowerCase() === b.toLowerCase())))

/** @param {string} text */
const isDate = (text) => /^\d{4}-\d\d-\d\d$/.test(text)
/** @param {any} value */
const isNested = (value) => typeof value === "object" && value !== null
/** @param {any} value */
const isObject = (value) => isNested(value) && !Array.isArray(value)

/** RFC 7396 inside a field; a null at the top is the field's value. @param {any} target @param {any} patch */
function mergePatch(target, patch) {
  if (!isObject(patch)) return patch
  const merged = isObject(target) ? { ...target } : {}
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name]
    else merged[name] = mergePatch(merged[name], value)
  }
  return merged
}

let lastMillisecond = 0
let lastCount = 0

/** A UUIDv7 (RFC 9562, method 1: a counter keeps those of one millisecond in order). @param {number} now */
function uuid7(now) {
  const bytes = crypto.getRandomValues(new Uint8Array(10))
  if (now > lastMillisecond) {
    lastMillisecond = now
    lastCount = ((bytes[0] & 0x07) << 8) | bytes[1]
  } else if (++lastCount > 0xfff) {
    lastMillisecond++
    lastCount = 0
  }
  const time = lastMillisecond.toString(16).padStart(12, "0")
  const count = lastCount.toString(16).padStart(3, "0")
  bytes[2] = (bytes[2] & 0x3f) | 0x80
  const random = [...bytes.subarray(2)].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-${random.slice(0, 4)}-${random.slice(4)}`
}

// ─── subscriptions ───────────────────────────────────────────────────────────────────────────────────────────

/**
 * @typedef {object} Frame
 * @property {string} [group] @property {string} [sub]
 * @property {Fields[]} [added] @property {{key: Key, fields: Fields, absent?: string[]}[]} [changed]
 * @property {Key[]} [removed] @property {Key[]} [order] @property {any} [value]
 */

/** @typedef {{resource?: string, query?: QueryJson, read?: string, args?: Fields}} Target what is kept live */

/**
 * @typedef {object} LiveOptions
 * @property {(error: CruditeError) => void} [onError] the live query has ended: no more rows
 * @property {(status: LiveStatus) => void} [onStatus]
 */

/**
 * @typedef {object} Listener
 * @property {(shown: any) => void} onRows
 * @property {(error: CruditeError) => void} onError
 * @property {(status: LiveStatus) => void} [onStatus]
 * @property {any} shown what it was last called with
 * @property {LiveStatus} [status]
 */

/** What a subscription holds: records by key, or one value. Its records are never changed, only replaced. */
class Contents {
  /** @type {Map<string, Fields>} */
  records = new Map()
  /** @type {Map<string, number> | undefined} the place of each key, where the server gives the order */
  places
  /** @type {any} */
  value
  isValue = false

  /** @param {Frame & {records?: Fields[]}} part a frame, or a part of a snapshot @param {string} keyField */
  apply(part, keyField) {
    if ("value" in part) {
      this.value = part.value
      this.isValue = true
    }
    for (const record of part.records ?? []) this.records.set(String(record[keyField]), record)
    for (const key of part.removed ?? []) this.records.delete(String(key))
    for (const record of part.added ?? []) this.records.set(String(record[keyField]), record)
    for (const change of part.changed ?? []) this.#change(change)
    if (part.order) this.#place(part.order, part.records !== undefined)
  }

  /** @param {Key[]} order @param {boolean} isPart of a snapshot: the parts add up */
  #place(order, isPart) {
    const places = (isPart && this.places) || new Map()
    const first = places.size
    order.forEach((key, index) => places.set(String(key), first + index))
    this.places = places
  }

  /** Keep the objects of records that say the same as before. @param {Contents | undefined} before */
  reusing(before) {
    for (const [key, record] of this.records) {
      const old = before?.records.get(key)
      if (old && JSON.stringify(old) === JSON.stringify(record)) this.records.set(key, old)
    }
    return this
  }

  /** @param {{key: Key, fields: Fields, absent?: string[]}} change */
  #change({ key, fields, absent = [] }) {
    const old = this.records.get(String(key))
    if (!old) return
    const record = { ...old, ...fields }
    for (const name of absent) delete record[name]
    this.records.set(String(key), record)
  }
}

const NOTHING = Symbol("nothing to show yet")

class Subscription {
  /** @type {"asked" | "loading" | "resuming" | "live" | "ended"} */
  phase = "asked"
  /** @type {string} its name on the present connection */
  name = ""
  /** @type {string | undefined} */
  group
  /** @type {string | undefined} the position up to which `contents` is complete */
  cursor
  /** @type {string | undefined} the server's check that query and rights are still the same */
  key
  /** @type {string | undefined} the sequence of positions that its frames and cursor belong to */
  lane
  keyField = "id"
  /** @type {SortField[]} */
  sort = []
  /** @type {Contents | undefined} what is confirmed and complete */
  contents
  /** @type {Contents | undefined} the snapshot under way */
  #incoming
  /** @type {any} the rows or the value on show */
  shown = NOTHING
  /** @type {Map<string, Fields>} the records on show that rest on guesses */
  #guessed = new Map()
  /** @type {Set<Listener>} */
  listeners = new Set()

  /** @param {string} identity @param {Target} target */
  constructor(identity, target) {
    this.identity = identity
    this.target = target
  }

  /** @returns {LiveStatus} */
  get status() {
    if (this.phase === "live" || this.phase === "ended") return this.phase
    return this.contents ? "stale" : "loading"
  }

  /** Forget the connection, not what is held. @param {string} name for the next one */
  ask(name) {
    this.name = name
    this.group = undefined
    this.#start("asked")
    return { sub: name, ...this.target, ...(this.cursor !== undefined && { cursor: this.cursor, key: this.key }) }
  }

  /** @param {Fields} result of `subscribe` */
  answered({ group, key, lane, resumed, sort, key_field = "id" }) {
    this.group = group
    this.key = key
    this.lane = lane
    this.sort = sort ?? []
    this.keyField = key_field
    if (resumed) this.#start("resuming")
    else this.reset()
  }

  /**
   * Other rights: from now on it is another group's. What that changes comes next, with a commit; until then what
   * is held does not go with the key, and cannot be resumed.
   * @param {Fields} params of `rights`
   */
  moved({ group, key, lane, sort }) {
    this.group = group
    this.key = key
    this.lane = lane
    this.sort = sort
    this.cursor = undefined
  }

  /** What is held may be shown until the new set is complete, but never be resumed. */
  reset() {
    this.cursor = undefined
    this.#start("loading")
  }

  /** @param {"asked" | "loading" | "resuming" | "live"} phase */
  #start(phase) {
    this.phase = phase
    this.#incoming = undefined
  }

  /** @param {Fields} part */
  snapshot(part) {
    if (this.phase !== "loading") return
    this.#incoming ??= new Contents()
    this.#incoming.apply(part, this.keyField)
  }

  /** @param {string} cursor */
  ready(cursor) {
    if (this.phase === "live") this.cursor ??= cursor // It was moved, and nothing was different.
    if (this.phase !== "loading" && this.phase !== "resuming") return
    if (this.phase === "loading") this.contents = (this.#incoming ?? new Contents()).reusing(this.contents)
    this.#start("live")
    this.cursor = cursor
  }

  /** Until it is ready a group's frames are not meant for it: its snapshot contains them. @param {Frame} frame */
  receives({ sub, group }) {
    return sub === undefined ? this.phase === "live" && this.group === group : this.name === sub
  }

  /** A frame whose commit has come. @param {Frame} frame */
  committed(frame) {
    if (this.phase === "live" || this.phase === "resuming") this.contents?.apply(frame, this.keyField)
  }

  /** Work out what to show; where that is nothing new, `shown` stays the same. @param {Guess[]} guesses */
  refresh(guesses) {
    if (!this.contents) return
    const next = this.contents.isValue ? this.contents.value : this.#rows(this.contents, guesses)
    if (!same(this.shown, next)) this.shown = next
  }

  /** @param {Contents} contents @param {Guess[]} guesses */
  #rows(contents, guesses) {
    const records = new Map(contents.records)
    const mine = guesses.filter(({ resource }) => resource === this.target.resource)
    for (const guess of mine) this.#imagine(records, guess)
    this.#guessed = new Map(mine.flatMap(({ key }) => this.#kept(records, key)))
    const rows = [...records.values()].sort(this.#order(contents))
    return rows.slice(0, this.target.query?.limit ?? rows.length)
  }

  /** @param {Map<string, Fields>} records @param {Guess} guess */
  #imagine(records, { action, key, data }) {
    const old = records.get(key)
    const deleted = this.target.query?.deleted
    if (deleted && action !== "update") return // whether it belongs here is the server's to say
    if (action === "delete") records.delete(key)
    else if (action === "update" && old) records.set(key, this.#patched(old, data))
    else if (action === "create" && !old && this.#plainlyGets(data)) records.set(key, this.#visible(data))
  }

  /**
   * Only what the record shows already: the rest is not asked for, or may not be read.
   * @param {Fields} old @param {Fields} patch
   */
  #patched(old, patch) {
    const record = { ...old }
    for (const [name, value] of Object.entries(patch)) {
      if (Object.hasOwn(old, name)) record[name] = mergePatch(old[name], value)
    }
    return record
  }

  /** @param {Fields} data */
  #plainlyGets(data) {
    return this.sort.length > 0 && plainlyHolds(this.target.query ?? {}, data) // Else only the server knows its place.
  }

  /** @param {Fields} data */
  #visible(data) {
    const { fields, omit = [] } = this.target.query ?? {}
    const isVisible = (/** @type {string} */ name) => (fields ? fields.includes(name) : !omit.includes(name))
    return Object.fromEntries(Object.entries(data).filter(([name]) => name === this.keyField || isVisible(name)))
  }

  /**
   * The same object as before when it says the same.
   * @param {Map<string, Fields>} records @param {string} key @returns {[string, Fields][]} none or one
   */
  #kept(records, key) {
    const record = records.get(key)
    if (!record) return []
    const before = this.#guessed.get(key)
    if (!before || !hasSameMembers(before, record)) return [[key, record]]
    records.set(key, before)
    return [[key, before]]
  }

  /** @param {Contents} contents @returns {(a: Fields, b: Fields) => number} */
  #order({ places }) {
    if (!places) return compareRecords(this.sort)
    const place = (/** @type {Fields} */ record) => places.get(String(record[this.keyField])) ?? places.size
    return (a, b) => place(a) - place(b)
  }
}

/** @param {any} a @param {any} b */
const same = (a, b) =>
  Object.is(a, b) ||
  (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => item === b[i]))

/** @param {Fields} a @param {Fields} b */
function hasSameMembers(a, b) {
  const names = Object.keys(a)
  if (names.length !== Object.keys(b).length) return false
  return names.every((name) => Object.hasOwn(b, name) && a[name] === b[name])
}

/** JSON with sorted members: equal texts mean equal queries. @param {any} value @returns {string} */
const identityOf = (value) =>
  JSON.stringify(value, (_, member) =>
    isObject(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  )

// ─── the line ────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @typedef {object} Timers
 * @property {(run: () => void, milliseconds: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now milliseconds since 1970
 */

/**
 * @typedef {object} Setup
 * @property {string} url
 * @property {Ticket} [ticket]
 * @property {typeof WebSocket} WebSocket
 * @property {() => number} random
 * @property {Timers} timers
 * @property {EventTarget | undefined} page
 */

/**
 * @typedef {object} LineEvents
 * @property {() => void} opened
 * @property {(text: string) => void} received
 * @property {(isFinal: boolean, code: number) => void} lost with the code of the close, 0 where there was none
 * @property {() => void} probe ask the server for a sign of life
 * @property {(status: Status) => void} status
 * @property {(error: unknown) => void} failed to make a ticket
 */

/** Keeps one socket open: tries again with full jitter, notices silence, wakes up with the page. */
class Line {
  /** @type {Status} */
  status = "connecting"
  /** @type {number | undefined} how long the server asked to wait */
  retryIn
  /** @type {WebSocket | undefined} */
  #socket
  /** @type {symbol | undefined} the connection for which a ticket is being made */
  #opening
  #attempts = 0
  #openedAt = 0
  #heardAt = 0
  #isProbing = false
  #hasSpoken = false
  /** @type {any} */
  #timer

  /**
   * @param {Setup} setup
   * @param {LineEvents} events
   */
  constructor(setup, events) {
    this.setup = setup
    this.events = events
    this.#open()
    for (const name of ["online", "visibilitychange"]) setup.page?.addEventListener(name, this.#wake)
  }

  /** @param {string} text */
  send(text) {
    this.#hasSpoken = true
    this.#socket?.send(text)
  }

  /** A client that never says anything is taken for none: one that has nothing to ask yet answers a ping. */
  answer() {
    if (!this.#hasSpoken) this.events.probe()
  }

  /** Give the socket up without waiting for its close, which on a dead network may take minutes. */
  drop() {
    if (this.#socket) this.#ended(0)
  }

  close() {
    if (this.status === "closed") return
    for (const name of ["online", "visibilitychange"]) this.setup.page?.removeEventListener(name, this.#wake)
    this.#release()
    this.#become("closed")
    this.events.lost(true, 0)
  }

  #open() {
    this.#become("connecting")
    if (this.setup.ticket) void this.#openWithTicket(this.setup.ticket)
    else this.#connect(this.setup.url)
  }

  /** A ticket opens one connection; without one there is none. @param {() => any} makeTicket */
  async #openWithTicket(makeTicket) {
    const opening = (this.#opening = Symbol())
    this.#openedAt = this.setup.timers.now()
    this.#after(LONGEST_SILENCE, () => this.#ended(0))
    try {
      const ticket = await makeTicket()
      if (this.#opening !== opening) return
      const url = new URL(this.setup.url)
      if (ticket !== null) url.searchParams.set("ticket", ticket)
      this.#connect(url.href)
    } catch (error) {
      if (this.#opening !== opening) return
      this.events.failed(error)
      this.#ended(0)
    }
  }

  /** @param {string} url */
  #connect(url) {
    const socket = new this.setup.WebSocket(url, [SUBPROTOCOL])
    this.#socket = socket
    this.#heardAt = this.#openedAt = this.setup.timers.now()
    this.#isProbing = this.#hasSpoken = false
    this.#after(LONGEST_SILENCE, this.#listen)
    socket.onopen = () => {
      this.#heardAt = this.#openedAt = this.setup.timers.now()
      this.#become("open")
      this.events.opened()
    }
    socket.onmessage = ({ data }) => {
      this.#heardAt = this.setup.timers.now()
      this.#isProbing = false
      this.events.received(data)
    }
    socket.onclose = ({ code }) => this.#ended(code)
  }

  /** @param {number} code */
  #ended(code) {
    this.#release()
    if (code === ORIGIN_REFUSED) return this.close()
    // A connection that soon ends again has not shown that the trouble is over.
    if (this.setup.timers.now() - this.#openedAt >= LONGEST_BACKOFF) this.#attempts = 0
    const ceiling = Math.min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** this.#attempts++)
    const delay = this.retryIn ?? this.setup.random() * ceiling
    this.retryIn = undefined
    this.#after(delay, this.#reopen)
    this.#become("waiting")
    this.events.lost(false, code)
  }

  #release() {
    this.#opening = undefined
    this.setup.timers.clearTimeout(this.#timer)
    const socket = this.#socket
    this.#socket = undefined
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close()
  }

  #reopen = () => {
    if (this.status === "waiting") this.#open()
  }

  #listen = () => {
    const silence = this.setup.timers.now() - this.#heardAt
    if (this.#isProbing) this.drop()
    else if (silence < LONGEST_SILENCE) this.#after(LONGEST_SILENCE - silence, this.#listen)
    else if (this.status === "open") this.#probe()
    else this.drop()
  }

  #probe() {
    this.#isProbing = true
    this.#after(PROBE_PATIENCE, this.#listen)
    this.events.probe()
  }

  /** The network is back, or somebody looks at the page again: do not wait any longer. */
  #wake = () => {
    if (globalThis.document?.visibilityState === "hidden") return
    if (this.status === "open" && !this.#isProbing) this.#probe()
    if (this.status !== "waiting") return
    this.setup.timers.clearTimeout(this.#timer)
    this.#open()
  }

  /** A line needs one timer at a time. @param {number} milliseconds @param {() => void} run */
  #after(milliseconds, run) {
    this.setup.timers.clearTimeout(this.#timer)
    this.#timer = this.setup.timers.setTimeout(run, milliseconds)
  }

  /** @param {Status} status */
  #become(status) {
    if (this.status === status) return
    this.status = status
    this.events.status(status)
  }
}

// ─── the client ──────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @typedef {object} Call
 * @property {number} id
 * @property {string} text as it is sent
 * @property {boolean} mayRepeat after a lost connection: it reads, or says the same again
 * @property {number} sends
 * @property {boolean} isUnderWay
 * @property {(result: any) => void} resolve
 * @property {(error: CruditeError) => void} reject
 */

/** @typedef {string | null | (() => string | null | Promise<string | null>)} Token */
/** @typedef {() => string | null | Promise<string | null>} Ticket makes a ticket for one connection; null for none */
/** @typedef {() => string | null | void | Promise<string | null | void>} Renew makes a new token; none where there is none */

/** Everything that is under way on one line: calls, subscriptions, guesses. */
class Client {
  /** @type {Line} */
  #line
  /** @type {Timers} */
  #timers
  /** @type {(error: unknown) => void} */
  #onError
  /** @type {((message: any) => void) | undefined} */
  #tap
  /** @type {Token} */
  #token
  /** @type {Renew | undefined} */
  #onExpiring
  /** Whether the last connection was closed because its credentials were over. */
  #isOutdated = false
  #lastId = 0
  #lastName = 0
  /** Counts connections, to know after waiting whether it is still the same one. */
  #connection = 0
  /** Whether calls may be sent: after the greeting, and until the server says `bye`. */
  #isOpen = false
  #isLeaving = false
  /** @type {CruditeError | undefined} why nothing can be asked any more */
  #end
  /** @type {Map<number, Call>} waiting or under way */
  #calls = new Map()
  /** @type {Map<string, Subscription>} by identity */
  #subscriptions = new Map()
  /** @type {{frame: Frame, receivers: Set<Subscription>}[]} since the last commit */
  #held = []
  /** @type {number[]} acknowledged, but by frames that are still held */
  #acked = []
  /** @type {Guess[]} in the order of their calls */
  #guesses = []
  /** @type {Set<(status: Status) => void>} */
  #watchers = new Set()
  /** @type {Map<string, Joined>} by the names that the page has for them */
  #channels = new Map()
  /** By this the others know the page again when it comes back; nobody else can guess it. */
  #mark = Array.from(globalThis.crypto.getRandomValues(new Uint8Array(16)), (one) => one + 256)
    .map((one) => one.toString(16).slice(1))
    .join("")

  /**
   * @param {Setup & {
   *   token: Token, onExpiring?: Renew, onError: (error: unknown) => void, tap?: (message: any) => void,
   * }} setup
   */
  constructor(setup) {
    this.#timers = setup.timers
    this.#token = setup.token
    this.#onExpiring = setup.onExpiring
    this.#onError = setup.onError
    this.#tap = setup.tap
    this.#line = new Line(setup, {
      opened: () => void this.#greet(),
      received: (text) => this.#received(text),
      lost: (isFinal, code) => this.#lost(isFinal, code),
      probe: () => this.#post({ method: "ping", goesFirst: true }),
      failed: (error) => this.#report(error),
      status: (status) => this.#watchers.forEach((watcher) => this.#guarded(() => watcher(status))),
    })
  }

  get status() {
    return this.#line.status
  }

  /** @param {(status: Status) => void} watcher @returns {() => void} */
  watch(watcher) {
    const own = (/** @type {Status} */ status) => watcher(status)
    this.#watchers.add(own)
    return () => void this.#watchers.delete(own)
  }

  close() {
    this.#end ??= closed()
    this.#line.close()
  }

  // ── calls

  /**
   * @param {string} method @param {Fields} [params] @param {{mayRepeat?: boolean, id?: number}} [options]
   * @returns {Promise<any>}
   */
  call(method, params = {}, options = {}) {
    return new Promise((resolve, reject) => {
      if (this.#end) reject(this.#end)
      else if (this.#calls.size >= MOST_CALLS) reject(tooManyCalls())
      else this.#post({ method, params, ...options, resolve, reject })
    })
  }

  /**
   * Send a call now, or when the connection has been greeted; one that `goesFirst` does not wait for that.
   * @param {Partial<Call> & {method: string, params?: Fields, goesFirst?: boolean}} given
   */
  #post({ method, params = {}, goesFirst = false, ...given }) {
    const { id = ++this.#lastId, mayRepeat = false, resolve = ignore, reject = ignore } = given
    const text = JSON.stringify({ jsonrpc: "2.0", id, method, params })
    const call = { id, text, mayRepeat, sends: 0, isUnderWay: false, resolve, reject }
    this.#calls.set(id, call)
    if (this.#isOpen || goesFirst) this.#send(call)
  }

  /** @param {Call} call */
  #send(call) {
    call.sends++
    call.isUnderWay = true
    this.#line.send(call.text)
  }

  /** @param {Fields} response */
  #answered({ id, result, error }) {
    const call = this.#calls.get(id)
    if (!call) return
    this.#calls.delete(id)
    if (error) call.reject(errorOf(error))
    else call.resolve(result)
    this.#leaveWhenIdle()
  }

  // ── one connection after the other

  /** Say who we are, then everything that waited. */
  async #greet() {
    const connection = ++this.#connection
    await this.#introduce(connection)
    if (connection !== this.#connection || this.#isLeaving) return
    this.#isOpen = true
    for (const subscription of this.#subscriptions.values()) this.#subscribe(subscription)
    for (const channel of this.#channels.values()) this.#join(channel)
    for (const call of [...this.#calls.values()]) if (!call.isUnderWay) this.#send(call)
  }

  /**
   * A refused token is reported, and the page goes on as nobody: its calls will say what is missing.
   * @param {number} connection
   */
  async #introduce(connection) {
    try {
      const renewed = this.#isOutdated ? await this.#renewed() : null
      const token = renewed ?? (typeof this.#token === "function" ? await this.#token() : this.#token)
      if (token === null || connection !== this.#connection) return
      await new Promise((resolve, reject) =>
        this.#post({ method: "auth", params: { token }, goesFirst: true, resolve, reject }),
      )
      this.#isOutdated = false
    } catch (error) {
      if (connection === this.#connection) this.#report(error)
    }
  }

  /** A new token in place of one that expires; null where nobody makes one, or `auth()` has put another there. */
  async #renewed() {
    const before = this.#token
    const made = await (this.#onExpiring ?? (typeof before === "function" ? before : ignore))()
    if (this.#token !== before || typeof made !== "string") return null
    if (typeof before !== "function") this.#token = made
    return made
  }

  /** Show a new token in place, before the present one expires. */
  async #renew() {
    const connection = this.#connection
    try {
      const token = await this.#renewed()
      if (token !== null && connection === this.#connection) await this.call("auth", { token })
    } catch (error) {
      if (connection === this.#connection) this.#report(error)
    }
  }

  /** @param {boolean} isFinal @param {number} code */
  #lost(isFinal, code) {
    this.#connection++
    this.#isOutdated ||= code === CREDENTIALS_OVER
    this.#isOpen = this.#isLeaving = false
    this.#held = []
    this.#acked = []
    // No `acks` will name them on the next connection, whose snapshots and resumes contain them.
    for (const guess of this.#guesses) guess.isCovered ||= !this.#calls.has(guess.id)
    if (isFinal) return this.#finish((this.#end ??= refused()))
    for (const subscription of this.#subscriptions.values()) subscription.ask("")
    for (const channel of this.#channels.values()) channel.isIn = false
    for (const call of [...this.#calls.values()]) if (call.isUnderWay) this.#interrupted(call)
    this.#tell(this.#subscriptions.values())
  }

  /** @param {Call} call */
  #interrupted(call) {
    call.isUnderWay = false
    if (call.mayRepeat && call.sends < MOST_SENDS_OF_A_READ) return
    this.#calls.delete(call.id)
    call.reject(disconnected())
  }

  /** @param {CruditeError} error */
  #finish(error) {
    const [calls, subscriptions] = [[...this.#calls.values()], [...this.#subscriptions.values()]]
    this.#calls.clear()
    this.#guesses = []
    for (const call of calls) call.reject(error)
    for (const subscription of subscriptions) this.#endSubscription(subscription, error)
    for (const channel of [...this.#channels.values()]) this.#endChannel(channel, error)
    this.#watchers.clear()
  }

  #leaveWhenIdle() {
    if (this.#isLeaving && ![...this.#calls.values()].some(({ isUnderWay }) => isUnderWay)) this.#line.drop()
  }

  /** @param {Token} token @returns {Promise<{id: Key, roles: string[]} | null>} */
  async auth(token) {
    const before = this.#token
    this.#token = token
    try {
      const value = typeof token === "function" ? await token() : token
      const { actor } = await this.call("auth", { token: value }, { mayRepeat: true })
      this.#isOutdated = false
      return actor
    } catch (error) {
      if (this.#token === token) this.#token = before
      throw error
    }
  }

  // ── what the server says

  // ── channels

  /**
   * @param {string} name @param {Ear} ear @param {unknown} [state]
   * @returns {() => void} stop
   */
  join(name, ear, state) {
    let channel = this.#channels.get(name)
    if (!channel) this.#channels.set(name, (channel = new Joined(name)))
    const isSaid = state !== undefined
    if (isSaid) channel.state = state
    channel.ears.add(ear)
    if (this.#end) this.#endChannel(channel, this.#end)
    else if (this.#isOpen && (isSaid || channel.ears.size === 1)) this.#join(channel)
    else if (channel.isIn) queueMicrotask(() => this.#showMembers(channel, [ear]))
    return () => this.#unjoin(channel, ear)
  }

  /** @param {Joined} channel */
  #join(channel) {
    const isCurrent = () => this.#channels.get(channel.name) === channel
    const state = channel.state === undefined ? {} : { state: channel.state }
    this.#post({
      method: "join",
      params: { channel: channel.name, as: this.#mark, ...state },
      resolve: (result) => {
        if (!isCurrent()) return
        channel.joined(result)
        this.#showMembers(channel)
      },
      reject: (error) => {
        if (!isCurrent() || error.code === "disconnected") return
        const { retry_in: pause } = error.problem
        if (typeof pause !== "number") return this.#endChannel(channel, error)
        this.#timers.setTimeout(() => isCurrent() && this.#isOpen && this.#join(channel), pause)
      },
    })
  }

  /** @param {Joined} channel @param {Ear} ear */
  #unjoin(channel, ear) {
    channel.ears.delete(ear)
    if (channel.ears.size || this.#channels.get(channel.name) !== channel) return
    this.#channels.delete(channel.name)
    if (this.#isOpen) this.#post({ method: "leave", params: { channel: channel.name } })
  }

  /** @param {Joined} channel @param {CruditeError} error */
  #endChannel(channel, error) {
    const ears = [...channel.ears]
    this.#channels.delete(channel.name)
    channel.ears.clear()
    if (error.code === "closed") return
    for (const { onError } of ears) this.#guarded(() => (onError ? onError(error) : this.#report(error)))
  }

  /** @param {string} method @param {any} params */
  #toldIn(method, params) {
    const channel = [...this.#channels.values()].find(({ wire }) => wire === params.channel)
    if (!channel) return // It was left while this was on its way.
    if (method === "problem") return this.#endChannel(channel, new CruditeError(params.problem))
    if (method === "event") {
      const { event, data, from = null } = params
      for (const { onEvent } of [...channel.ears]) this.#guarded(() => onEvent?.({ event, data, from }))
    } else if (method === "presence") {
      channel.present(params)
      this.#showMembers(channel)
    }
  }

  /** @param {Joined} channel @param {Iterable<Ear>} [ears] */
  #showMembers(channel, ears = channel.ears) {
    if (channel.count === null) return
    const { members, count } = channel
    for (const { onPresence } of [...ears]) {
      this.#guarded(() => onPresence?.(members && [...members.values()], /** @type {number} */ (count)))
    }
  }

  /** @param {string} text */
  #received(text) {
    try {
      const message = JSON.parse(text)
      for (const one of Array.isArray(message) ? message : [message]) {
        this.#guarded(() => this.#tap?.(one))
        if (one.method) this.#notified(one.method, one.params ?? {})
        else this.#answered(one)
      }
    } catch (error) {
      this.#report(error) // What follows could not be trusted: begin again from the last complete position.
      this.#line.drop()
    }
  }

  /** @param {string} method @param {any} params */
  #notified(method, params) {
    const subscription = params.sub === undefined ? undefined : this.#named(params.sub)
    if (method === "frame") this.#hold(params)
    else if (method === "commit") this.#commit(params.cursor, params.lane ?? "exact")
    else if (method === "acks") this.#acknowledge(params.ids)
    else if (method === "ping") this.#pinged()
    else if (method === "bye") this.#leave(params.retry_in)
    else if (method === "auth_expiring") void this.#renew()
    else if (params.channel !== undefined) this.#toldIn(method, params)
    else if (!subscription) return // It was stopped while this was on its way.
    else if (method === "snapshot") subscription.snapshot(params)
    else if (method === "ready") this.#ready(subscription, params.cursor)
    else if (method === "rights") subscription.moved(params)
    else if (method === "reset") this.#reset(subscription)
    else if (method === "problem") this.#endSubscription(subscription, new CruditeError(params.problem))
  }

  #pinged() {
    this.#forgetUnacknowledged()
    this.#line.answer()
  }

  /** @param {Frame} frame */
  #hold(frame) {
    const receivers = new Set([...this.#subscriptions.values()].filter((one) => one.receives(frame)))
    if (receivers.size) this.#held.push({ frame, receivers })
  }

  /** What is held came before it, and is of the same lane. @param {string} cursor @param {string} lane */
  #commit(cursor, lane) {
    const held = this.#held
    this.#held = []
    for (const { frame, receivers } of held) receivers.forEach((subscription) => subscription.committed(frame))
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.phase === "live" && subscription.lane === lane) subscription.cursor = cursor
    }
    this.#settle()
  }

  /** @param {Subscription} subscription @param {string} cursor */
  #ready(subscription, cursor) {
    subscription.ready(cursor)
    if (!this.#held.length) this.#settle() // Else with the commit, together with what is held.
  }

  /** @param {Subscription} subscription */
  #reset(subscription) {
    for (const { receivers } of this.#held) receivers.delete(subscription)
    subscription.reset()
    this.#tell([subscription])
  }

  /** @param {number} retryIn milliseconds */
  #leave(retryIn) {
    this.#line.retryIn = retryIn
    this.#isOpen = false
    this.#isLeaving = true
    this.#leaveWhenIdle()
  }

  // ── writes, shown before they are confirmed

  /**
   * @param {string} resource @param {"create" | "update" | "delete"} action
   * @param {Fields} params @param {{key: Key, data: Fields}[]} expected
   */
  async write(resource, action, params, expected) {
    const id = ++this.#lastId
    const answer = this.call(`${resource}.${action}`, params, { id })
    if (this.#calls.has(id) && this.#of(resource).length) {
      this.#guesses.push(...expected.map(({ key, data }) => ({ id, resource, action, key: String(key), data })))
      this.#show(this.#of(resource))
    }
    try {
      return (await answer)?.data
    } catch (error) {
      this.#dropGuesses((guess) => guess.id === id)
      this.#show(this.#of(resource))
      throw error
    }
  }

  /**
   * Give the records keys, where a live query of their resource tells the key's name and that it is a UUID.
   * @param {string} resource @param {Fields[]} records
   * @returns {{key: Key, data: Fields}[]} those that have a key
   */
  keyed(resource, records) {
    const known = this.#of(resource).find(({ contents }) => contents !== undefined)
    if (!known) return []
    const { keyField, sort } = known
    const isUuid = sort.some(({ field, type }) => field === keyField && type === "uuid")
    return records.flatMap((record) => {
      if (isUuid) record[keyField] ??= uuid7(this.#timers.now())
      const key = record[keyField]
      return key === undefined || key === null ? [] : [{ key, data: record }]
    })
  }

  /** @param {number[]} ids */
  #acknowledge(ids) {
    this.#acked.push(...ids)
    if (!this.#held.length) this.#settle()
  }

  /** Take away the guesses that the records on show contain by now. */
  #settle() {
    const acked = new Set(this.#acked)
    this.#acked = []
    for (const guess of this.#guesses) guess.isCovered ||= acked.has(guess.id)
    const isComplete = (/** @type {string} */ resource) => this.#of(resource).every(({ phase }) => phase === "live")
    this.#dropGuesses(({ isCovered, resource }) => isCovered === true && isComplete(resource))
    this.#show(this.#subscriptions.values())
  }

  /** A guess must not stay for ever because an `acks` never came. */
  #forgetUnacknowledged() {
    const answered = this.#guesses.filter(({ id }) => !this.#calls.has(id))
    for (const guess of answered) guess.pings = (guess.pings ?? 0) + 1
    this.#dropGuesses(({ pings = 0 }) => pings > MOST_PINGS_WITHOUT_ACK)
    this.#show(this.#subscriptions.values())
  }

  /** @param {(guess: Guess) => boolean} isOver */
  #dropGuesses(isOver) {
    this.#guesses = this.#guesses.filter((guess) => !isOver(guess))
  }

  // ── live queries

  /**
   * @param {Target} target
   * @param {(shown: any) => void} onRows @param {LiveOptions} options
   * @returns {() => void} stop
   */
  live(target, onRows, { onError = (error) => this.#report(error), onStatus }) {
    /** @type {Listener} */
    const listener = { onRows, onError, onStatus, shown: NOTHING }
    const identity = identityOf(target)
    const subscription = this.#subscriptions.get(identity) ?? this.#begin(identity, asJson(target))
    subscription.listeners.add(listener)
    // Always later than the call, so that `stop` exists when a callback wants it.
    queueMicrotask(() => this.#inform(subscription, listener))
    return () => this.#stop(subscription, listener)
  }

  /** @param {string} identity @param {Fields} target */
  #begin(identity, target) {
    const subscription = new Subscription(identity, target)
    if (this.#end) {
      const error = this.#end
      queueMicrotask(() => this.#endSubscription(subscription, error))
      return subscription
    }
    this.#subscriptions.set(identity, subscription)
    if (this.#isOpen) this.#subscribe(subscription)
    return subscription
  }

  /** @param {Subscription} subscription */
  #subscribe(subscription) {
    const name = `s${++this.#lastName}`
    const isCurrent = () => subscription.name === name && subscription.phase !== "ended"
    this.#post({
      method: "subscribe",
      params: subscription.ask(name),
      resolve: (result) => {
        if (isCurrent()) subscription.answered(result)
      },
      reject: (error) => {
        if (!isCurrent() || error.code === "disconnected") return
        const { retry_in: pause } = error.problem
        if (typeof pause !== "number") return this.#endSubscription(subscription, error)
        this.#timers.setTimeout(() => isCurrent() && this.#isOpen && this.#subscribe(subscription), pause) // a rate
      },
    })
  }

  /** @param {Subscription} subscription @param {Listener} listener */
  #stop(subscription, listener) {
    subscription.listeners.delete(listener)
    if (subscription.listeners.size || subscription.phase === "ended") return
    if (this.#isOpen) this.#post({ method: "unsubscribe", params: { sub: subscription.name } })
    this.#remove(subscription)
  }

  /** @param {Subscription} subscription @param {CruditeError} error */
  #endSubscription(subscription, error) {
    const listeners = [...subscription.listeners]
    this.#remove(subscription)
    for (const listener of listeners) {
      if (error.code !== "closed") this.#guarded(() => listener.onError(error))
      this.#guarded(() => listener.onStatus?.("ended"))
    }
    subscription.listeners.clear()
  }

  /** @param {Subscription} subscription */
  #remove(subscription) {
    subscription.phase = "ended"
    this.#subscriptions.delete(subscription.identity)
    const { resource } = subscription.target
    if (resource === undefined || this.#of(resource).length) return
    this.#dropGuesses((guess) => guess.resource === resource)
  }

  /** First all subscriptions, then all callbacks. @param {Iterable<Subscription>} subscriptions */
  #show(subscriptions) {
    const all = [...subscriptions]
    for (const subscription of all) subscription.refresh(this.#guesses)
    this.#tell(all)
  }

  /** @param {Iterable<Subscription>} subscriptions */
  #tell(subscriptions) {
    for (const subscription of [...subscriptions]) {
      for (const listener of [...subscription.listeners]) this.#inform(subscription, listener)
    }
  }

  /**
   * Tell a listener what it does not know yet, each in an array of its own.
   * @param {Subscription} subscription @param {Listener} listener
   */
  #inform(subscription, listener) {
    const { shown, status, listeners } = subscription
    if (shown !== NOTHING && listeners.has(listener) && !Object.is(listener.shown, shown)) {
      listener.shown = shown
      this.#guarded(() => listener.onRows(Array.isArray(shown) ? shown.slice() : shown))
    }
    if (listeners.has(listener) && listener.status !== status) {
      listener.status = status
      this.#guarded(() => listener.onStatus?.(status))
    }
  }

  /** What nobody else will hear of. @param {unknown} error */
  #report(error) {
    try {
      this.#onError(error)
    } catch {
      // Whoever listens to errors has nobody to tell of his own.
    }
  }

  /** An application's mistake in one callback must not stop the others. @param {() => void} run */
  #guarded(run) {
    try {
      run()
    } catch (error) {
      this.#report(error)
    }
  }

  /** @param {string} resource */
  #of(resource) {
    return [...this.#subscriptions.values()].filter(({ target }) => target.resource === resource)
  }

  /** @param {string} sub */
  #named(sub) {
    return [...this.#subscriptions.values()].find(({ name }) => name === sub)
  }
}

const ignore = () => {}

// ─── what an application calls ───────────────────────────────────────────────────────────────────────────────

/**
 * A query of one resource. Every method that narrows it returns a new one, so queries can be kept and shared.
 *
 * @template {Fields} [T=Fields] the shape of its records
 */
export class Query {
  /** @type {Client} */
  #client

  /** @param {Client} client @param {string} resource @param {QueryJson} json */
  constructor(client, resource, json) {
    this.#client = client
    this.resource = resource
    this.json = Object.freeze(json)
  }

  /**
   * And only those: `{status: "doing", due: {lt: "2026-12-01"}}`.
   * Raises a TypeError when a field gets the same operator twice; say both with `or` and `not` in one `where`.
   * @param {Fields} conditions @returns {Query<T>}
   */
  where(conditions) {
    return this.#with({ where: conjunction(this.json.where ?? {}, conditions) })
  }

  /**
   * By these fields, `-` before a name for descending; replaces an earlier order.
   * @param {...string} fields @returns {Query<T>}
   */
  order(...fields) {
    return this.#with({ sort: fields })
  }

  /** At most so many. @param {number} count @returns {Query<T>} */
  limit(count) {
    return this.#with({ limit: count })
  }

  /** Only these fields (and the key). @param {...string} names @returns {Query<T>} */
  fields(...names) {
    return this.#with({ fields: names })
  }

  /** All fields but these. @param {...string} names @returns {Query<T>} */
  omit(...names) {
    return this.#with({ omit: names })
  }

  /**
   * Deleted records that may be restored: `"only"` these, or `"with"` those that are there.
   * @param {"only" | "with"} which @returns {Query<T>}
   */
  deleted(which) {
    return this.#with({ deleted: which })
  }

  /**
   * One page, once: an array with three more properties. `next` and `prev` are cursors or null; `count` is
   * there when asked for by `{count: "exact"}`.
   * @param {QueryJson} [more] members of the query that have no method: `cursor`, `count`
   * @returns {Promise<Page<T>>}
   */
  async list(more = {}) {
    const query = { ...this.json, ...more }
    const result = await this.#client.call(`${this.resource}.list`, { query }, { mayRepeat: true })
    const { data, next = null, prev = null, count } = result
    return Object.defineProperties(data, { next: { value: next }, prev: { value: prev }, count: { value: count } })
  }

  /**
   * Keep the query current: `rows` is called with all its records, in order, now and whenever they change.
   * Each call gets a new array; a record that did not change is the same object as before. Treat records as
   * read-only.
   * @param {(rows: T[]) => void} rows @param {LiveOptions} [options]
   * @returns {() => void} stop
   */
  live(rows, options = {}) {
    return this.#client.live({ resource: this.resource, query: this.json }, rows, options)
  }

  /** @param {QueryJson} more @returns {Query<T>} */
  #with(more) {
    return new Query(this.#client, this.resource, { ...this.json, ...more })
  }
}

/** @typedef {{readonly next: string | null, readonly prev: string | null, readonly count: number | undefined}} Place */
/** @template T @typedef {T[] & Place} Page */

/** @param {Fields} first @param {Fields} second @returns {Fields} */
function conjunction(first, second) {
  const both = { ...first }
  for (const [field, condition] of Object.entries(second)) {
    both[field] = Object.hasOwn(first, field) ? bothOperators(field, first[field], condition) : condition
  }
  return both
}

/** @param {string} field @param {any} first @param {any} second */
function bothOperators(field, first, second) {
  const [a, b] = [first, second].map((condition) => (isObject(condition) ? condition : { eq: condition }))
  const isAmbiguous = field === "or" || field === "not" || Object.keys(b).some((name) => Object.hasOwn(a, name))
  if (isAmbiguous) throw new TypeError(`where() has two conditions on ${field} that do not combine`)
  return { ...a, ...b }
}

/**
 * One resource: a query of all its records, and what can be done with one.
 *
 * `create`, `update` and `delete` show in the live queries of this page at once; a refused one disappears again.
 *
 * @template {Fields} [T=Fields]
 * @extends {Query<T>}
 */
export class Resource extends Query {
  /** @type {Client} */
  #client

  /** @param {Client} client @param {string} name */
  constructor(client, name) {
    super(client, name, {})
    this.#client = client
  }

  /** @param {Key} key @param {{fields?: string[], omit?: string[]}} [query] @returns {Promise<T>} */
  async get(key, query = {}) {
    return (await this.#client.call(`${this.resource}.read`, { key, query }, { mayRepeat: true })).data
  }

  /**
   * A record, or several: all or none of them.
   * @template {Partial<T> | Partial<T>[]} D
   * @param {D} data @returns {Promise<D extends any[] ? T[] : T>} as stored; undefined where it may not be read
   */
  create(data) {
    const own = asJson(data)
    const expected = this.#client.keyed(this.resource, Array.isArray(own) ? own : [own])
    return this.#client.write(this.resource, "create", { data: own }, expected)
  }

  /**
   * Change some fields (a merge patch, RFC 7396); `version` makes it conditional.
   * @param {Key} key @param {Partial<T>} patch @param {{version?: number}} [options] @returns {Promise<T>}
   */
  update(key, patch, { version } = {}) {
    const data = asJson(patch)
    return this.#client.write(this.resource, "update", { key, data, version }, [{ key, data }])
  }

  /**
   * Overwrite a record: what is not given gets its default. Shown when confirmed, for defaults are not known here.
   * @param {Key} key @param {Partial<T>} data @param {{version?: number}} [options] @returns {Promise<T>}
   */
  async replace(key, data, { version } = {}) {
    return (await this.#client.call(`${this.resource}.replace`, { key, data, version })).data
  }

  /**
   * `force` deletes also what points at it and wants that to be said; `purge` keeps nothing to be restored.
   * @param {Key} key @param {{version?: number, force?: boolean, purge?: boolean}} [options] @returns {Promise<void>}
   */
  async delete(key, { version, force, purge } = {}) {
    await this.#client.write(this.resource, "delete", { key, version, force, purge }, [{ key, data: {} }])
  }

  /**
   * Bring a deleted record back, where such are kept. Shown when confirmed.
   * @param {Key} key @param {{version?: number}} [options] @returns {Promise<T>}
   */
  async restore(key, { version } = {}) {
    return (await this.#client.call(`${this.resource}.restore`, { key, version })).data
  }
}

/** One channel that a page is in, or waits to be: who listens, and who is there as far as that is told. */
class Joined {
  /** @type {Set<Ear>} */
  ears = new Set()
  /** @type {unknown} */
  state = undefined
  isIn = false
  /** @type {Map<string, Present> | null} null where more are there than are named */
  members = null
  /** @type {number | null} null where nobody is shown */
  count = null

  /** @param {string} name */
  constructor(name) {
    this.name = name
    this.wire = name
  }

  /** @param {any} result of the call */
  joined(result) {
    this.wire = result.channel
    this.isIn = true
    if (result.count !== undefined) this.present({ members: null, ...result })
  }

  /** @param {any} told what has changed, or all that there is */
  present({ count, members, joined, changed, left }) {
    this.count = count
    const isDifference = joined || changed || left
    if (members) this.members = new Map(members.map((/** @type {Present} */ one) => [one.member, one]))
    else if (!isDifference) this.members = null
    for (const one of [...(joined ?? []), ...(changed ?? [])]) this.members?.set(one.member, one)
    for (const member of left ?? []) this.members?.delete(member)
  }
}

/** What is told at the moment and kept nowhere, and who is there. */
class Channel {
  #client

  /** @param {Client} client @param {string} name */
  constructor(client, name) {
    this.#client = client
    this.name = name
  }

  /**
   * Hear what is told, for as long as this is not stopped: again whenever the connection was lost.
   * @param {Ear & {state?: unknown}} [options] `state` is what the page says of itself
   * @returns {() => void} stop
   */
  join({ state, ...ear } = {}) {
    return this.#client.join(this.name, ear, state)
  }

  /**
   * Tell all who are there, once joined. It is not sent again: what was true then may not be true any more.
   * @param {string} event @param {unknown} [data] @returns {Promise<void>}
   */
  async publish(event, data = null) {
    await this.#client.call("publish", { channel: this.name, event, data })
  }
}

/** What a handler answers (`@app.read`), once or kept current. */
class Reading {
  #client

  /** @param {Client} client @param {string} name @param {Fields} args */
  constructor(client, name, args) {
    this.#client = client
    this.name = name
    this.args = args
  }

  /** Once; sent again when the connection was lost. @returns {Promise<any>} */
  async get() {
    return (await this.#client.call(this.name, this.args, { mayRepeat: true })).data
  }

  /**
   * Keep the answer current.
   * @param {(shown: any) => void} shown called with the rows, or with the value @param {LiveOptions} [options]
   * @returns {() => void} stop
   */
  live(shown, options = {}) {
    return this.#client.live({ read: this.name, args: this.args }, shown, options)
  }
}

/**
 * @typedef {{member: string, id: Key | null, state: any}} Present somebody who is in a channel
 * @typedef {object} Ear
 * @property {(told: {event: string, data: any, from: {member: string | null, id: Key | null} | null}) => void} [onEvent]
 * @property {(members: Present[] | null, count: number) => void} [onPresence] null where more are there than are named
 * @property {(error: CruditeError) => void} [onError] the channel has ended, or may not be joined
 */

/**
 * @typedef {object} Options all may be left out
 * @property {string} [url] of the WebSocket; `ws` beside this module unless given
 * @property {Token} [token] sent before anything else on every connection; a function is asked each time
 * @property {Ticket} [ticket] asked before each connection, where neither a cookie nor a token is at hand for it
 * @property {Renew} [onExpiring] asked for a new token when the present one is about to expire, or has
 * @property {(error: unknown) => void} [onError] what nobody else hears of: `console.error` unless given
 * @property {(message: any) => void} [tap] called with each answer and notification, before it takes effect
 * @property {typeof WebSocket} [WebSocket]
 * @property {EventTarget} [page] says `online` and `visibilitychange`; the window unless given
 * @property {() => number} [random] from 0 to 1, for the backoff
 * @property {Timers} [timers]
 */

/**
 * @typedef {object} Api
 * @property {(name: string) => Resource<any>} resource by its name on the wire, where it is no identifier
 * @property {(name: string, args?: Fields) => Promise<any>} call a handler, once
 * @property {(name: string, args?: Fields) => Reading} read a handler's answer, once or live
 * @property {(name: string) => Channel} channel what is told at the moment
 * @property {(token: Token) => Promise<{id: Key, roles: string[]} | null>} auth as somebody else, or null as nobody
 * @property {Status} status
 * @property {(watcher: (status: Status) => void) => () => void} onStatus returns a function that stops it
 * @property {() => void} close everything; what is under way rejects with code `closed`
 */

/** @type {Timers} */
const REAL_TIMERS = {
  setTimeout: (run, milliseconds) => globalThis.setTimeout(run, milliseconds),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
  now: () => Date.now(),
}

/**
 * Connect to an application. Every name that is not one of `Api` is a resource: `api.tasks`; `api.lineItems` is
 * `line-items` on the wire.
 *
 * @param {Options} [options]
 * @returns {Api & {[resource: string]: Resource<any>}}
 */
export function connect(options = {}) {
  const client = new Client({
    url: socketUrl(options.url),
    ticket: options.ticket,
    WebSocket: options.WebSocket ?? globalThis.WebSocket,
    random: options.random ?? Math.random,
    timers: options.timers ?? REAL_TIMERS,
    page: options.page ?? globalThis.window,
    token: options.token ?? null,
    onExpiring: options.onExpiring,
    onError: options.onError ?? ((error) => console.error(error)),
    tap: options.tap,
  })
  /** @type {Api} */
  const api = {
    resource: (name) => new Resource(client, name),
    call: async (name, args = {}) => (await client.call(name, args))?.data,
    read: (name, args = {}) => new Reading(client, name, args),
    channel: (name) => new Channel(client, name),
    auth: (token) => client.auth(token),
    get status() {
      return client.status
    },
    onStatus: (watcher) => client.watch(watcher),
    close: () => client.close(),
  }
  return /** @type {any} */ (new Proxy(api, { get: memberOrResource }))
}

/** @param {any} api @param {string | symbol} name */
function memberOrResource(api, name) {
  if (name in api) return api[name]
  if (typeof name === "symbol" || name === "then" || name === "toJSON") return undefined // It is no promise.
  return api.resource(name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`))
}

/** @param {string} [url] */
function socketUrl(url) {
  const { href } = url ? new URL(url, globalThis.location?.href) : new URL("ws", import.meta.url)
  return href.replace(/^http/, "ws")
}
