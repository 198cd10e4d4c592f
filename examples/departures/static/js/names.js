// The names behind the codes: two small live lists.
const airlines = new Map()
const airports = new Map()

const fill = (map, records) => { map.clear(); for (const record of records) map.set(record.id, record) }

export const setAirlineNames = records => fill(airlines, records)
export const setAirports = records => fill(airports, records)

/** The airport's record; undefined for the few that have none. */
export const airport = code => airports.get(code)
export const airlineName = code => airlines.get(code)?.name.replace(/ (Inc\.|Co\.|Corporation)$/, "") ?? code
