// The same request in three languages, as it stands in the form.

import { addressOf } from "./sending.js"

/** [name, text] for each language. */
export function examplesOf(document, operation, request) {
  return [
    ["curl", curl(document, operation, request)],
    ["JavaScript", javascript(operation, request)],
    ["Python", python(document, operation, request)],
  ]
}

function curl(document, operation, request) {
  const parts = [operation.isStream ? "curl -N" : "curl"]
  if (request.method !== "GET") parts.push(`-X ${request.method}`)
  parts.push(shell(addressOf(document, "").replace(/\/$/, "") + request.path))
  for (const [name, value] of Object.entries(request.headers)) parts.push(`-H ${shell(`${name}: ${value}`)}`)
  if (request.body != null) parts.push(`--data ${shell(compact(request.body))}`)
  return parts.join(" \\\n  ")
}

/** By the browser client where it can do it, else by fetch. */
function javascript(operation, request) {
  const start = `import { connect } from "/crudite.js"\n\nconst api = connect()\n`
  const call = clientCall(operation, request)
  if (call) return start + call
  const options = []
  if (request.method !== "GET") options.push(`method: ${JSON.stringify(request.method)}`)
  if (Object.keys(request.headers).length) options.push(`headers: ${JSON.stringify(request.headers)}`)
  if (request.body != null) options.push(`body: JSON.stringify(${compact(request.body)})`)
  const more = options.length ? `, {\n  ${options.join(",\n  ")},\n}` : ""
  return `const response = await fetch(${JSON.stringify(request.path)}${more})\nconst data = await response.json()`
}

function clientCall(operation, request) {
  const [resource, action] = operation.resource ?? []
  const url = new URL(request.path, "http://x")
  const where = [...url.searchParams]
  const data = request.body != null ? JSON.stringify(parsed(request.body), null, 2) : "{}"
  if (!resource) {
    if (!operation.handler) return null
    const args = operation.bodyType ? data : JSON.stringify(Object.fromEntries(where))
    if (operation.isStream) return `api.read(${quoted(operation.handler)}, ${args}).live((value) => console.log(value))`
    return `const answer = await api.call(${quoted(operation.handler)}, ${args})`
  }
  const key = quoted(decodeURIComponent(url.pathname.split("/").filter((part) => part !== "subscribe").at(-1)))
  const name = /^[a-z][\w-]*$/.test(resource) && resource !== "call" ? `api.${resource.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())}` : `api.resource(${quoted(resource)})`
  switch (action) {
    case "list": return `const rows = await ${name}${chain(where)}.list()`
    case "read": return `const record = await ${name}.get(${key})`
    case "create": return `const record = await ${name}.create(${data})`
    case "replace": return `const record = await ${name}.replace(${key}, ${data})`
    case "update": return `const record = await ${name}.update(${key}, ${data})`
    case "delete": return `await ${name}.delete(${key})`
    case "subscribe": return `const stop = ${name}${chain(where)}.live((rows) => console.log(rows))`
    case "subscribe.one": return `const stop = ${name}.where({ id: ${key} }).live(([record]) => console.log(record))`
  }
  return null
}

/** The methods of a query that say what its URL parameters say. */
function chain(parameters) {
  const where = {}
  let text = ""
  for (const [name, value] of parameters) {
    const operator = /^(.+)\[(\w+)\]$/.exec(name)
    if (name === "sort") text += `.order(${value.split(",").map(quoted).join(", ")})`
    else if (name === "limit") text += `.limit(${value})`
    else if (name === "fields" || name === "omit") text += `.${name}(${value.split(",").map(quoted).join(", ")})`
    else if (name === "filter") Object.assign(where, parsed(value))
    else if (operator) where[operator[1]] = { ...where[operator[1]], [operator[2]]: scalar(value) }
    else if (!["offset", "cursor", "count", "last_event_id"].includes(name)) where[name] = scalar(value)
  }
  return (Object.keys(where).length ? `.where(${JSON.stringify(where)})` : "") + text
}

function python(document, operation, request) {
  const lines = ["import httpx", ""]
  const base = quoted(addressOf(document, "").replace(/\/$/, ""))
  const url = new URL(request.path, "http://x")
  const parts = [quoted(decodeURIComponent(url.pathname))]
  const query = [...url.searchParams]
  if (query.length) parts.push(`params=[${query.map(([name, value]) => `(${quoted(name)}, ${quoted(value)})`).join(", ")}]`)
  const headers = Object.entries(request.headers).filter(([name, value]) => !(name === "Content-Type" && value === "application/json"))
  if (headers.length) parts.push(`headers={${headers.map(([name, value]) => `${quoted(name)}: ${quoted(value)}`).join(", ")}}`)
  if (request.body != null) parts.push(`json=${literal(parsed(request.body))}`)
  const method = request.method.toLowerCase()
  if (operation.isStream) {
    lines.push(`with httpx.stream("GET", ${base} + ${parts.join(", ")}, timeout=None) as response:`)
    lines.push("    for line in response.iter_lines():", "        print(line)")
    return lines.join("\n")
  }
  lines.push(`with httpx.Client(base_url=${base}) as client:`)
  // httpx takes a body only with request() where the method has none of its own
  const call = method === "delete" && request.body != null ? `client.request("DELETE", ` : `client.${method}(`
  lines.push(`    response = ${call}${parts.join(", ")})`, "    response.raise_for_status()")
  lines.push(method === "delete" ? "" : "    print(response.json())")
  return lines.join("\n").trimEnd()
}

function literal(value) {
  if (value === null || value === undefined) return "None"
  if (value === true) return "True"
  if (value === false) return "False"
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${quoted(name)}: ${literal(one)}`).join(", ")}}`
  return JSON.stringify(value)
}

function scalar(value) {
  return value === "true" ? true : value === "false" ? false : /^-?\d{1,15}(\.\d+)?$/.test(value) ? Number(value) : value
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function compact(text) {
  const value = parsed(text)
  return typeof value === "string" ? text : JSON.stringify(value)
}

function quoted(text) {
  return JSON.stringify(String(text))
}

function shell(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
