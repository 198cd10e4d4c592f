// The panel that shows the messages from the server.
import { byId, element, stored } from "./dom.js"
import { onMessage } from "./feed.js"
import { count } from "./format.js"

const SHOWN = 60
const SMALL = new Set(["commit", "ready", "ping", "acks"]) // said in one line
const LONGEST = 400 // characters in a closed entry

const list = byId("frames-list")
const waiting = []
let held = false
let messages = 0
let drawing = false

onMessage(message => {
  messages += 1
  waiting.push([message, new Date()])
  if (waiting.length > SHOWN) waiting.shift()
  if (!held) later()
})

byId("frames-pause").addEventListener("click", event => {
  held = !held
  event.currentTarget.setAttribute("aria-pressed", String(held))
  if (!held) later()
})

function later() {
  if (drawing) return
  drawing = true
  requestAnimationFrame(draw)
}

function draw() {
  drawing = false
  list.prepend(...waiting.splice(0).reverse().map(([message, at]) => entry(message, at)))
  while (list.children.length > SHOWN) list.lastElementChild.remove()
  byId("frames-count").textContent = `${count(messages)} so far.`
}

function entry(message, at) {
  const [method, params] = partsOf(message)
  const text = SMALL.has(method) ? [] : [element("code", {}, JSON.stringify(params).slice(0, LONGEST))]
  const time = at.toLocaleTimeString("en-GB")
  const summary = element("summary", {},
    element("div", { class: "line" }, element("b", {}, method), element("em", {}, about(method, params)), element("span", {}, time)),
    ...text)
  const details = element("details", { "data-method": method }, summary)
  details.addEventListener("toggle", () => {
    if (details.childElementCount === 1) details.append(element("pre", {}, JSON.stringify(message, null, 2)))
  }, { once: true })
  return element("li", {}, details)
}

function partsOf({ id, method, params, result, error }) {
  if (method) return [method, params ?? {}]
  return error ? ["error", { id, error }] : ["answer", { id, result }]
}

/** A frame in a few words. */
function about(method, { added, changed, removed, records, value, cursor, ids }) {
  if (cursor) return cursor
  if (ids) return ids.join(", ")
  if (value !== undefined) return `a number: ${count(value)}`
  if (method === "snapshot") return `${count(records.length)} records`
  const parts = [[added, "added"], [changed, "changed"], [removed, "removed"]]
  return parts.filter(([keys]) => keys?.length).map(([keys, word]) => `${keys.length} ${word}`).join(", ")
}

function show(open) {
  byId("frames").hidden = !open
  byId("frames-toggle").setAttribute("aria-expanded", String(open))
}

byId("frames-toggle").addEventListener("click", () => {
  const open = byId("frames").hidden
  stored("frames", open ? "open" : "closed")
  show(open)
})
show((stored("frames") ?? (matchMedia("(min-width: 1081px)").matches ? "open" : "closed")) === "open")
