// Times and names, as people at this airport read them.
const ZONE = "America/New_York"
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, hour: "2-digit", minute: "2-digit" })
const parts = { weekday: "long", day: "numeric", month: "long", year: "numeric" }
const day = new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, ...parts })
const numbers = new Intl.NumberFormat("en")

export const hhmm = iso => clock.format(new Date(iso))

/** {weekday: "Wednesday", day: "10 July", year: "2013"} */
export function dayOf(iso) {
  const named = Object.fromEntries(day.formatToParts(new Date(iso)).map(({ type, value }) => [type, value]))
  return { weekday: named.weekday, day: `${named.day} ${named.month}`, year: named.year }
}

export const count = number => numbers.format(number)

/** `iso` moved to the nearest moment at which the airport's clocks show `time` ("HH:MM"), in microseconds. */
export function movedTo(iso, time) {
  const minutes = text => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5))
  let by = minutes(time) - minutes(hhmm(iso))
  if (by > 720) by -= 1440
  if (by < -720) by += 1440
  return new Date(Date.parse(iso) + by * 60_000).toISOString().replace("Z", "000Z")
}

/** 95 → "1 h 35" */
export function delay(minutes) {
  if (minutes < 60) return `${minutes} min`
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")}`
}

