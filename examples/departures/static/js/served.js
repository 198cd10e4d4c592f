// How this page's list is served: asked of the server, which tells it to browsers on its own machine.
import { byId, element, setText } from "./dom.js"
import { chosen, condition } from "./filters.js"
import { count } from "./format.js"

const EVERY = 2000 // milliseconds
const FIGURES = {
  shared: ["Shared by", "Pages whose list is the same live query: a change is matched and encoded once for all of them"],
  found: ["Found by", "How the server finds this query for a change: by the value of a field, or by comparing every change"],
  changes: ["Changes", "Changes of records that the server has seen, per second"],
  deliveries: ["Deliveries", "Frames handed to pages, per second"],
  cost: ["Per delivery", "Time for encoding a frame and handing it to one page, on average since this page was opened"],
  lag: ["Lag", "From the newest change to its frames being with the pages"],
}
const LAG = "crudite_live_newest_lag_seconds"

const panel = byId("frames")
const values = {}
let first, before

for (const [name, [label, title]] of Object.entries(FIGURES)) {
  values[name] = element("dd", {}, "–")
  byId("served-figures").append(element("div", { title }, element("dt", {}, label), values[name]))
}

/** The list's query as a URL asks for it. */
function asked() {
  return new URLSearchParams({ ...condition(), sort: `${chosen.sort},scheduled`, limit: chosen.limit })
}

async function look() {
  if (panel.hidden || document.hidden) return true
  const [told, figures] = await Promise.all([fetch(`live/explain/flights?${asked()}`), fetch("metrics")])
  if (!told.ok || !figures.ok) return false
  show(await told.json(), { ...parsed(await figures.text()), at: performance.now() })
  return true
}

function show({ tier, reason, index, group }, now) {
  setText(byId("served-tier"), tier)
  setText(byId("served-reason"), reason)
  setText(values.shared, group ? `${count(group.subscriptions)} ${group.subscriptions === 1 ? "page" : "pages"}` : "–")
  setText(values.found, index.field ?? "comparing")
  setText(values.lag, time(now[LAG]))
  if (before) {
    const seconds = (now.at - before.at) / 1000
    const since = (then, name) => now[`crudite_live_${name}_total`] - then[`crudite_live_${name}_total`]
    setText(values.changes, `${count(Math.round(since(before, "changes") / seconds))}/s`)
    setText(values.deliveries, `${count(Math.round(since(before, "deliveries") / seconds))}/s`)
    if (since(first, "deliveries")) setText(values.cost, time(since(first, "delivery_seconds") / since(first, "deliveries")))
  }
  first ??= now
  before = now
  byId("served").hidden = false
}

/** The figures without labels, by name. */
function parsed(text) {
  return Object.fromEntries([...text.matchAll(/^(\w+) (\S+)$/gm)].map(([, name, value]) => [name, Number(value)]))
}

/** 0.0042 → "4.2 ms" */
function time(seconds) {
  const [scale, unit] = seconds < 0.001 ? [1e6, "µs"] : seconds < 1 ? [1e3, "ms"] : [1, "s"]
  const value = seconds * scale
  return `${value < 10 ? value.toFixed(1) : count(Math.round(value))} ${unit}`
}

/** Again and again, until the server says that this browser may not know. A server that is away is asked again. */
async function keepLooking() {
  if (await look().catch(() => true)) setTimeout(keepLooking, EVERY)
  else byId("served").hidden = true
}

keepLooking()
