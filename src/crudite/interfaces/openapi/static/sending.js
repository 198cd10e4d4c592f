// Requests: from what a form holds to a URL, headers and body; and sending them.

/** The request that an operation makes of the values in its form. */
export function makeRequest(operation, values, token) {
  let path = operation.path
  const query = []
  const headers = {}
  for (const parameter of operation.parameters) {
    const given = values.parameters[`${parameter.in}:${parameter.name}`]
    if (given == null || given === "") {
      if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, `{${parameter.name}}`)
    } else if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(given))
    else if (parameter.in === "query") query.push([parameter.name, given])
    else if (parameter.in === "header") headers[parameter.name] = given
  }
  for (const [name, value] of values.conditions ?? []) if (name) query.push([name, value])
  const body = operation.bodyType && values.body.trim() ? values.body : null
  if (body != null) headers["Content-Type"] = operation.bodyType
  if (token) headers.Authorization = `Bearer ${token}`
  const text = query.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&")
  return { method: operation.method.toUpperCase(), path: text ? `${path}?${text}` : path, headers, body }
}

/** The absolute address of a path below where the application is mounted. */
export function addressOf(document, path) {
  const root = (document.servers?.[0]?.url ?? "/").replace(/\/$/, "")
  return new URL(root + path, location.origin).href
}

/** Sends a request; what came back, with the milliseconds it took. */
export async function send(document, request) {
  const start = performance.now()
  const response = await fetch(addressOf(document, request.path), {
    method: request.method, headers: request.headers, body: request.body ?? undefined, cache: "no-store",
  })
  const text = await response.text()
  return { status: response.status, title: response.statusText, headers: [...response.headers], text, milliseconds: performance.now() - start }
}

/** The events of a stream, one after the other: `{event, id, data}`. Stops when the signal says so. */
export async function* events(document, request, signal) {
  const headers = { ...request.headers, Accept: "text/event-stream" }
  const response = await fetch(addressOf(document, request.path), { headers, signal, cache: "no-store" })
  if (!response.ok) throw new Error(`${response.status}: ${(await problemOf(response)) ?? response.statusText}`)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ""
  let event = {}
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const lines = (rest + value).split("\n")
    rest = lines.pop()
    for (const line of lines) {
      if (line === "") {
        if (event.data !== undefined) yield event
        event = {}
        continue
      }
      const colon = line.indexOf(":")
      if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "")
    }
  }
}

/** JSON laid out over lines; any other text as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

async function problemOf(response) {
  try {
    return (await response.json()).detail
  } catch {
    return null
  }
}

function encode(text) {
  return encodeURIComponent(text).replace(/%(5B|5D|2C|3A)/g, (code) => decodeURIComponent(code))
}
