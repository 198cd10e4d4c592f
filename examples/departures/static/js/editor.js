// The small form inside a row. It writes only what was changed here, and follows the rest.
import { element } from "./dom.js"
import { api } from "./feed.js"
import { hhmm, movedTo } from "./format.js"

const STATUSES = [["scheduled", "On time"], ["boarding", "Boarding"], ["delayed", "Delayed"], ["departed", "Departed"], ["cancelled", "Cancelled"]]
const shownOf = ({ status, expected, gate, remark }) => ({ status, expected: hhmm(expected), gate, remark })

/** The editor of one flight: its cell, `follow(flight)` for news of it, `focus()`. `close` is called when done. */
export function openEditor(flight, close) {
  let latest = flight
  let saving = false
  const fields = controls()
  const failed = element("p", { class: "failed", role: "alert", hidden: true })
  const save = element("button", { type: "submit", class: "save" }, "Save")
  const cancel = element("button", { type: "button" }, "Cancel")
  const form = element("form", { "aria-label": `Flight ${flight.airline} ${flight.number}`, novalidate: true },
    ...Object.values(fields).map(({ label }) => label), element("div", { class: "buttons" }, save, cancel), failed)
  for (const [name, text] of Object.entries(shownOf(flight))) fields[name].input.value = text

  form.addEventListener("submit", async event => {
    event.preventDefault()
    const data = changed(fields, latest)
    if (!Object.keys(data).length) return close()
    saving = save.disabled = true
    try {
      await api.flights.update(flight.id, data)
      close()
    } catch (error) {
      saving = save.disabled = false
      explain(error, fields, failed)
    }
  })
  cancel.addEventListener("click", close)
  form.addEventListener("keydown", event => { if (event.key === "Escape") close() })

  return {
    cell: element("td", { role: "cell", class: "editor" }, form),
    focus: () => fields.status.input.focus(),
    follow(news) {
      if (saving) return // our own write, shown before it is confirmed, and taken back when it is refused
      const [old, now] = [shownOf(latest), shownOf(news)]
      for (const [name, { input }] of Object.entries(fields)) if (input.value === old[name]) input.value = now[name]
      latest = news
    },
  }
}

function controls() {
  const options = STATUSES.map(([value, label]) => element("option", { value }, label))
  const field = (text, input) => ({ input, label: element("label", {}, text, input) })
  return {
    status: field("Status", element("select", {}, ...options)),
    expected: field("Leaves at", element("input", { type: "time", required: true })),
    gate: field("Gate", element("input", { maxlength: 5, autocomplete: "off" })),
    remark: field("Remark", element("input", { maxlength: 80, autocomplete: "off" })),
  }
}

function changed(fields, latest) {
  const shown = shownOf(latest)
  const differs = Object.entries(fields).filter(([name, { input }]) => input.value !== shown[name])
  const data = Object.fromEntries(differs.map(([name, { input }]) => [name, input.value.trim()]))
  if (data.expected) data.expected = movedTo(latest.expected, data.expected)
  else delete data.expected // an emptied time changes nothing
  return data
}

function explain(error, fields, failed) {
  const faults = error.problem?.errors ?? []
  for (const [name, { input }] of Object.entries(fields)) {
    input.setAttribute("aria-invalid", String(faults.some(({ pointer }) => pointer === `/${name}`)))
  }
  failed.textContent = faults.map(({ detail }) => detail).join(" ") || error.message
  failed.hidden = false
  Object.values(fields).find(({ input }) => input.getAttribute("aria-invalid") === "true")?.input.focus()
}
