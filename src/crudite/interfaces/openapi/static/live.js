// The dock at the foot of the page: one live query, its events as they come, and what they add up to.

import { fill, h } from "./dom.js"
import { events } from "./sending.js"

const MOST = 200

/** Makes the dock; `watch(request, title)` opens it with a stream, in place of the one before. */
export function liveDock(element, document) {
  let stop = null
  let records = new Map()
  let value
  const title = h("strong", { class: "where" })
  const state = h("span", { class: "state", role: "status" })
  const count = h("span", { class: "quiet" })
  const list = h("ol", { class: "events", tabindex: "0", "aria-label": "Events, newest first" })
  const set = h("pre", { tabindex: "0", "aria-label": "What they add up to" })
  const end = h("button", { type: "button", click: () => close() }, "Close")
  const fold = h("button", { type: "button", "aria-expanded": "true", click: () => {
    const folded = element.classList.toggle("folded")
    fold.setAttribute("aria-expanded", String(!folded))
    fold.textContent = folded ? "Show" : "Hide"
  } }, "Hide")
  fill(element, h("div", { class: "bar" }, h("span", { class: "badge live" }, "live"), title, state, count, fold, end),
    h("div", { class: "panes" }, list, set))

  function close() {
    stop?.abort()
    stop = null
    element.hidden = true
  }

  function show(event) {
    const data = JSON.parse(event.data)
    apply(event.event, data)
    list.prepend(h("li", null, h("time", null, new Date().toLocaleTimeString([], { hour12: false })), h("span", { class: `badge ${event.event}` }, event.event), h("code", null, event.data)))
    while (list.children.length > MOST) list.lastChild.remove()
    count.textContent = value === undefined ? `${records.size} ${records.size === 1 ? "record" : "records"}` : ""
    set.textContent = value === undefined ? JSON.stringify([...records.values()].slice(0, 50), null, 2) : String(value)
  }

  /** Every event may come twice: what is there already is replaced. */
  function apply(kind, data) {
    if (kind === "added") records.set(key(data), data)
    else if (kind === "changed") {
      const record = { ...records.get(String(data.key)), ...data.fields }
      for (const name of data.absent ?? []) delete record[name]
      records.set(String(data.key), record)
    } else if (kind === "removed") records.delete(String(data.key))
    else if (kind === "reset") records.clear()
    else if (kind === "value") value = data.value
  }

  async function watch(request, text) {
    stop?.abort()
    const own = (stop = new AbortController())
    records = new Map()
    value = undefined
    fill(list)
    set.textContent = ""
    count.textContent = ""
    title.textContent = text
    state.textContent = "connecting"
    element.hidden = false
    element.classList.remove("folded")
    try {
      for await (const event of events(document, request, own.signal)) {
        if (own !== stop) return
        state.textContent = event.event === "ready" || state.textContent === "live" ? "live" : "loading"
        if (event.event) show(event)
      }
      state.textContent = "ended"
    } catch (error) {
      if (own === stop) state.textContent = error.message
    }
  }

  return { watch, close }
}

function key(record) {
  return String(record.id ?? record.record?.id)
}
