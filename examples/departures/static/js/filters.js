// What the visitor asks for: kept in the page's address, so that a second window shows the same.
import { byId, choice, element, icon } from "./dom.js"

export const TABS = {
  board: { label: "On the board", where: { on_board: true }, count: "on-board-count", sort: "expected" },
  delayed: { label: "Delayed", where: { status: "delayed" }, count: "delayed-count", sort: "-delay" },
  departed: { label: "Departed", where: { status: "departed" }, count: "departed-count", sort: "-expected" },
  cancelled: { label: "Cancelled", where: { status: "cancelled" }, count: "cancelled-count", sort: "-expected" },
}
const ORIGINS = [["", "All", "From all three airports"], ["EWR", "EWR", "Newark"], ["JFK", "JFK", "Kennedy"], ["LGA", "LGA", "LaGuardia"]]
const SORTS = [
  ["expected", "Time"], ["-expected", "Latest time"], ["-delay", "Longest delay"], ["dest", "Destination"],
  ["airline", "Airline"], ["gate", "Gate"], ["-updated_at", "Last change"],
]
const LIMITS = ["12", "24", "48", "96"]
const FIRST = { tab: "board", origin: "", airline: "", sort: "expected", limit: "12" }

/** What is chosen now; `listen(change)` is called with it after every choice. */
export const chosen = fromAddress()
const listeners = new Set()
export const onChoice = listener => listeners.add(listener)

function fromAddress() {
  const asked = Object.fromEntries(new URLSearchParams(location.search))
  const known = {
    tab: Object.hasOwn(TABS, asked.tab ?? ""), origin: ORIGINS.some(([code]) => code === asked.origin),
    airline: /^\w{2}$/.test(asked.airline ?? ""), sort: SORTS.some(([sort]) => sort === asked.sort),
    limit: LIMITS.includes(asked.limit),
  }
  return Object.fromEntries(Object.entries(FIRST).map(([name, value]) => [name, known[name] ? asked[name] : value]))
}

/** Choose, show it, and tell everyone. */
export function choose(values) {
  Object.assign(chosen, values)
  const differs = Object.entries(chosen).filter(([name, value]) => value !== FIRST[name])
  history.replaceState(null, "", differs.length ? `?${new URLSearchParams(differs)}` : location.pathname)
  show()
  for (const listener of listeners) listener(chosen)
}

export const chooseAll = () => choose(FIRST)

/** The condition of the list. */
export function condition() {
  return { ...TABS[chosen.tab].where, ...place() }
}

/** The part of the condition that the counts share. */
export function place() {
  return { ...(chosen.origin && { origin: chosen.origin }), ...(chosen.airline && { airline: chosen.airline }) }
}

const numbers = {}
const pressOrigin = choice(byId("origin"), ORIGINS, origin => choose({ origin }))

export const setCount = (tab, text) => { numbers[tab].textContent = text }

/** Fill the menu of airlines. */
export function setAirlines(airlines) {
  const options = airlines.map(({ id, name }) => element("option", { value: id }, name.replace(/ (Inc\.|Co\.|Corporation)$/, "")))
  byId("airline").replaceChildren(element("option", { value: "" }, "All airlines"), ...options)
  show()
}

function show() {
  for (const tab of byId("tabs").children) tab.setAttribute("aria-pressed", String(tab.dataset.tab === chosen.tab))
  pressOrigin(chosen.origin)
  for (const name of ["airline", "sort", "limit"]) byId(name).value = chosen[name]
}

for (const [tab, { label, sort }] of Object.entries(TABS)) {
  numbers[tab] = element("b", {}, "–")
  const sign = tab === "board" ? [] : [icon(tab)]
  const button = element("button", { type: "button", "data-tab": tab }, numbers[tab], element("span", {}, ...sign, label))
  button.addEventListener("click", () => choose({ tab, sort }))
  byId("tabs").append(button)
}
byId("sort").append(...SORTS.map(([value, label]) => element("option", { value }, label)))
byId("limit").append(...LIMITS.map(value => element("option", { value }, value)))
for (const name of ["airline", "sort", "limit"]) {
  byId(name).addEventListener("change", event => choose({ [name]: event.target.value }))
}
byId("filters").addEventListener("submit", event => event.preventDefault())
byId("clear").addEventListener("click", chooseAll)
show()
