// Joins the parts: each live query goes to the part of the page that shows it.
import { redraw, render, wait } from "./board.js"
import { showClock } from "./clock.js"
import { byId } from "./dom.js"
import { api } from "./feed.js"
import { chosen, condition, onChoice, place, setAirlines, setCount, TABS } from "./filters.js"
import { count } from "./format.js"
import "./frames.js"
import "./hint.js"
import { setAirlineNames, setAirports } from "./names.js"
import { notify } from "./notice.js"
import "./served.js"

const onError = error => notify("live", `The server refused this list: ${error.message}`)

let stopList = () => {}
let stopCounts = []

function follow() {
  stopList()
  notify("live", "")
  let afresh = true
  stopList = api.flights.where(condition()).order(chosen.sort, "scheduled").limit(Number(chosen.limit)).live(flights => {
    render(flights, afresh)
    showEmpty(flights.length === 0)
    afresh = false
  }, { onError })
}

function followCounts() {
  for (const stop of stopCounts) stop()
  stopCounts = Object.entries(TABS).map(([tab, { count: name }]) =>
    api.read(name, place()).live(number => setCount(tab, count(number)), { onError }))
}

function showEmpty(empty) {
  byId("empty").hidden = !empty
  byId("rows").closest("table").hidden = empty
  byId("empty-text").textContent =
    chosen.tab === "board" ? "No flight fits these filters." : `No flight is ${chosen.tab} yet, or none that fits these filters.`
}

const STATES = {
  connecting: ["connecting", "Connecting"], open: ["online", "Live"],
  waiting: ["offline", "Offline"], closed: ["offline", "Offline"],
}

function showState(status) {
  const [state, text] = STATES[status]
  byId("state").dataset.state = state
  byId("state").querySelector("span").textContent = text
  notify("line", state === "offline" ? "No connection. This is how the board stood a moment ago; it catches up by itself." : "")
}

wait(Number(chosen.limit))
api.onStatus(showState)
showState(api.status)
api.clocks.live(([clock]) => showClock(clock), { onError })
api.airlines.order("name").limit(200).live(airlines => { setAirlineNames(airlines); setAirlines(airlines); redraw() }, { onError })
api.airports.limit(200).live(airports => { setAirports(airports); redraw() }, { onError })
follow()
followCounts()
let counted = JSON.stringify(place())
onChoice(() => {
  follow()
  if (counted !== (counted = JSON.stringify(place()))) followCounts()
})
