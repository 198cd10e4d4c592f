// One flight: a row that is made once and then told what changed.
import { openEditor } from "./editor.js"
import { element, icon, setIcon, setText } from "./dom.js"
import { delay, hhmm } from "./format.js"
import { airlineName, airport } from "./names.js"

const LABELS = { scheduled: "On time", boarding: "Boarding", delayed: "Delayed", departed: "Departed", cancelled: "Cancelled" }
const LATE = 15 // minutes

export class Row {
  constructor(flight) {
    const cell = (name, ...children) => element("td", { role: "cell", class: name }, ...children)
    this.expected = element("span")
    this.scheduled = element("del")
    this.place = element("b")
    this.details = element("small")
    this.sign = icon("scheduled")
    this.label = element("b")
    this.late = element("i")
    this.badge = element("span", {}, this.sign, this.label, this.late)
    this.number = cell("flight")
    this.from = cell("from")
    this.gate = cell("gate")
    this.remark = cell("remark")
    this.button = element("button", { type: "button", class: "plain edit" }, icon("edit"))
    this.button.addEventListener("click", () => this.toggle())
    this.node = element("tr", { role: "row" },
      cell("when", this.expected, this.scheduled), cell("where", this.place, this.details), this.number, this.from,
      this.gate, cell("status", this.badge), this.remark, cell("edit-cell", this.button))
    this.node.addEventListener("dblclick", event => { if (!event.target.closest(".editor")) this.open() })
    this.update(flight)
  }

  /** Show the flight as it is now; what differs from before is marked for a moment. */
  update(flight) {
    const before = this.flight
    if (before === flight) return
    this.flight = flight
    const late = flight.expected !== flight.scheduled
    const city = airport(flight.dest)?.city ?? flight.dest
    const number = `${flight.airline} ${flight.number}`
    this.node.dataset.status = flight.status
    setIcon(this.sign, flight.status)
    this.button.setAttribute("aria-label", `Edit flight ${number} to ${city}`)
    const texts = [
      [this.expected, hhmm(flight.expected), this.expected],
      [this.scheduled, late ? hhmm(flight.scheduled) : "", null],
      [this.place, city, null],
      [this.details, [flight.dest, airlineName(flight.airline)].join(" · "), null],
      [this.number, number, null],
      [this.from, flight.origin, null],
      [this.gate, flight.gate, this.gate],
      [this.label, LABELS[flight.status], this.badge],
      [this.late, lateness(flight), null],
      [this.remark, flight.remark, this.remark],
    ]
    for (const [node, text, mark] of texts) if (setText(node, text) && before && mark && text) flash(mark)
    this.scheduled.hidden = !late
    this.editor?.follow(flight)
  }

  toggle() {
    if (this.editor) this.close()
    else this.open()
  }

  open() {
    if (this.editor) return
    this.editor = openEditor(this.flight, () => this.close())
    this.node.append(this.editor.cell)
    this.mark(true)
    this.editor.focus()
  }

  close() {
    if (!this.editor) return
    const hadFocus = this.node.contains(document.activeElement)
    this.editor.cell.remove()
    this.editor = undefined
    this.mark(false)
    if (hadFocus) this.button.focus()
  }

  mark(open) {
    this.node.classList.toggle("open", open)
    this.button.setAttribute("aria-expanded", String(open))
  }
}

function lateness({ status, delay: minutes }) {
  const known = status === "delayed" || (status !== "cancelled" && minutes >= LATE)
  return known && minutes > 0 ? `+${delay(minutes)}` : ""
}

function flash(node) {
  node.classList.remove("flash")
  void node.offsetWidth // begins the animation again
  node.classList.add("flash")
  node.addEventListener("animationend", () => node.classList.remove("flash"), { once: true })
}
