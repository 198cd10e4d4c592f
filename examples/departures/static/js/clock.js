// The clock of the replay: one record, which every window shows and any window may set.
import { byId, choice, setIcon, setText } from "./dom.js"
import { api } from "./feed.js"
import { dayOf, hhmm } from "./format.js"
import { notify } from "./notice.js"

const KEY = "new-york"
const START = "2013-07-10T08:34:00Z"
const SPEEDS = [1, 5, 15, 60]
const PATIENCE = 4000 // milliseconds without a tick

let clock
let watchdog

const set = data => api.clocks.update(KEY, data).catch(error => notify("clock", `The clock could not be set: ${error.message}`))
const pressSpeed = choice(byId("speed"), SPEEDS.map(speed => [speed, `${speed}×`, `${speed} minutes of the day per second`]),
  speed => clock && set({ minutes_per_second: speed }))

byId("play").addEventListener("click", () => clock && set({ running: !clock.running }))
byId("reset").addEventListener("click", () => clock && set({ at: START, running: true }))

/** Show the clock's record; undefined while there is none. */
export function showClock(record) {
  clock = record
  clearTimeout(watchdog)
  if (!record || record.running) watchdog = setTimeout(missing, PATIENCE)
  for (const id of ["play", "reset"]) byId(id).disabled = !record
  if (!record) return
  notify("replay", "")
  setText(byId("clock"), hhmm(record.at))
  for (const [part, text] of Object.entries(dayOf(record.at))) setText(byId(part), text)
  byId("clock").dateTime = record.at
  setText(byId("play").querySelector("span"), record.running ? "Pause" : "Play")
  setIcon(byId("play").querySelector("svg"), record.running ? "pause" : "play")
  pressSpeed(record.minutes_per_second)
}

function missing() {
  if (api.status === "open") notify("replay", "The clock stands still: the replay is not running. Start examples/departures/replay.py.")
}
