// The page: reads the document, lists what it holds, and shows the operation that the address names.

import { fill, h, inline, prose } from "./dom.js"
import { liveDock } from "./live.js"
import { badge, operationsOf, operationView } from "./operation.js"
import { schemaView } from "./schema.js"

const get = (id) => document.getElementById(id)
const page = { content: get("content"), operations: get("operations"), find: get("find"), token: get("token"), sidebar: get("sidebar"), menu: get("menu") }

start()

async function start() {
  const response = await fetch(document.body.dataset.document)
  if (!response.ok) return fill(page.content, h("h1", null, "The document cannot be shown"), h("p", null, (await response.json().catch(() => ({}))).detail ?? response.statusText))
  const api = await response.json()
  const operations = operationsOf(api)
  const dock = liveDock(get("live"), api)
  get("title").textContent = api.info.title
  get("version").textContent = api.info.version
  document.title = `${api.info.title} API`
  get("token-row").hidden = !api.components.securitySchemes
  const show = () => route(api, operations, dock)
  page.find.addEventListener("input", () => list(api, operations))
  page.menu.addEventListener("click", () => openMenu(page.menu.getAttribute("aria-expanded") !== "true"))
  addEventListener("hashchange", () => { show(); openMenu(false); scrollTo(0, 0); page.content.focus({ preventScroll: true }) })
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|TEXTAREA|SELECT/.test(event.target.tagName)) { event.preventDefault(); openMenu(true); page.find.focus() }
    if (event.key === "Escape") openMenu(false)
  })
  list(api, operations)
  show()
}

function openMenu(open) {
  page.menu.setAttribute("aria-expanded", String(open))
  page.sidebar.classList.toggle("open", open)
}

/** Shows what the part of the address after # names. */
function route(api, operations, dock) {
  const name = decodeURIComponent(location.hash.replace(/^#\/?/, ""))
  const operation = operations.find((one) => one.id === name)
  const schema = name.startsWith("schema/") && api.components.schemas[name.slice(7)]
  if (operation) fill(page.content, operationView(api, operation, { token: () => page.token.value.trim(), dock, streamOf: (one) => streamOf(one, operations) }))
  else if (schema) fill(page.content, h("h1", null, name.slice(7)), prose(schema.description), schemaView(api, schema))
  else if (name) fill(page.content, h("h1", null, "There is no such operation"), h("p", null, h("a", { href: "#/" }, "Everything there is")))
  else fill(page.content, overview(api, operations))
  for (const link of page.operations.querySelectorAll("a")) {
    if (link.hash === location.hash) link.setAttribute("aria-current", "page")
    else link.removeAttribute("aria-current")
  }
}

/** The stream that shows what an operation does: that of the same list. */
function streamOf(operation, operations) {
  if (operation.isStream || !operation.resource) return operation.isStream ? null : operations.find((one) => one.isStream && one.id === `${operation.id}.subscribe`)
  const list = operation.parts.slice(0, -1).join(".")
  return operations.find((one) => one.id === `${list}.subscribe`)
}

/** The sidebar: operations by resource, those that are looked for. */
function list(api, operations) {
  const wanted = page.find.value.trim().toLowerCase()
  const found = operations.filter((one) => !wanted || `${one.method} ${one.path} ${one.id} ${one.summary}`.toLowerCase().includes(wanted))
  const tags = (api.tags ?? []).map((tag) => tag.name)
  fill(page.operations,
    tags.map((tag) => group(tag, found.filter((one) => one.tag === tag))),
    !found.length && h("p", { class: "quiet" }, "Nothing is called so."))
  for (const link of page.operations.querySelectorAll("a")) if (link.hash === location.hash) link.setAttribute("aria-current", "page")
}

function group(tag, operations) {
  if (!operations.length) return null
  return h("section", null, h("h2", null, tag), h("ul", null, operations.map((one) =>
    h("li", null, h("a", { href: `#/${encodeURIComponent(one.id)}` }, badge(one), h("span", null, label(one)))))))
}

/** Operations of nested paths say so; the rest is told by the badge and the name. */
function label(operation) {
  if (!operation.resource) return operation.id
  const nested = operation.path.includes("}/") && !/^\/[^/]+\/\{key\}\/subscribe$/.test(operation.path)
  return nested ? operation.path : operation.parts.at(-1) === "one" ? "subscribe to one" : operation.parts.at(-1)
}

function overview(api, operations) {
  const schemas = Object.keys(api.components.schemas).filter((name) => !/(Create|Replace|Update|Part|Filter|Query|\.patch)$/.test(name))
  return [
    h("h1", null, api.info.title),
    prose(api.info.description),
    (api.tags ?? []).map((tag) => h("section", { class: "summary" }, h("h2", null, tag.name), h("p", { class: "quiet" }, inline(tag.description)),
      h("ul", { class: "rows" }, operations.filter((one) => one.tag === tag.name).map((one) =>
        h("li", null, h("a", { href: `#/${encodeURIComponent(one.id)}` }, badge(one), h("code", null, one.path), h("span", null, one.summary))))))),
    h("section", { class: "summary" }, h("h2", null, "Schemas"), h("ul", { class: "chips" }, schemas.map((name) => h("li", null, h("a", { href: `#/schema/${encodeURIComponent(name)}` }, name))))),
  ]
}
