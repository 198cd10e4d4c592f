// One operation: what it does, what goes in, what comes back, and a form that does it.

import { code, fill, h, inline, prose, tabs } from "./dom.js"
import { examplesOf } from "./examples.js"
import { answerSummary, operationForm, parametersView, rememberKey } from "./form.js"
import { resolve, schemaView } from "./schema.js"
import { makeRequest, pretty, send } from "./sending.js"

/** The operations of a document, as this page needs them. */
export function operationsOf(document) {
  const found = []
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, written] of Object.entries(methods)) found.push(readOperation(document, path, method, written))
  }
  return found
}

function readOperation(document, path, method, written) {
  const isStream = Boolean(written.responses?.[200]?.content?.["text/event-stream"])
  const content = written.requestBody?.content ?? {}
  const bodyType = Object.keys(content)[0]
  const isHandler = written.tags?.[0] === "Handlers"
  const action = /\.(subscribe\.one|[a-z]+)$/.exec(written.operationId)?.[1]
  const parameters = (written.parameters ?? []).map((one) => resolve(document, one))
  const names = path.split("/")
  for (const parameter of parameters) {
    if (parameter.in === "path") parameter.owner = names[names.indexOf(`{${parameter.name}}`) - 1]
  }
  const isQuery = parameters.some((parameter) => parameter.name === "filter" && parameter.in === "query")
  const filter = isQuery ? resolve(document, parameters.find((one) => one.name === "filter").content["application/json"].schema) : null
  return {
    id: written.operationId, path, method, isStream, bodyType, parameters,
    parts: written.operationId.split("."),
    tag: written.tags?.[0] ?? "", summary: written.summary, description: written.description,
    bodySchema: content[bodyType]?.schema, bodyExample: content[bodyType]?.example, responses: written.responses,
    conditions: filter ? Object.keys(filter.properties).filter((name) => !["or", "and", "not"].includes(name)) : null,
    resource: !isHandler && written.operationId !== "subscribe" ? [names.filter((name) => name && !name.startsWith("{") && !["query", "subscribe"].includes(name)).at(-1), action] : null,
    handler: isHandler ? written.operationId.replace(/\.subscribe$/, "") : null,
    isOpen: !written.security || written.security.some((one) => !Object.keys(one).length),
  }
}

/** What is shown of the method: streams are called live. */
export function badge(operation) {
  return h("span", { class: `badge ${operation.isStream ? "live" : operation.method}` }, operation.isStream ? "live" : operation.method)
}

/** The whole view of an operation. */
export function operationView(document, operation, { token, dock, streamOf }) {
  const examples = h("div")
  const result = h("div", { class: "result", role: "region", "aria-label": "Answer", tabindex: "-1" })
  const request = (values) => makeRequest(operation, values, token())
  const { form, values } = operationForm(document, operation, {
    label: operation.isStream ? "Subscribe" : `Send ${operation.method.toUpperCase()}`,
    changed: () => draw(),
    submit: () => (operation.isStream ? dock.watch(request(values), request(values).path) : perform()),
  })
  let chosen = 0
  function draw() {
    const entries = examplesOf(document, operation, request(values))
    const shown = tabs("Language", entries.map(([name, text]) => [name, code(text)]), chosen)
    shown.addEventListener("click", (event) => {
      const at = entries.findIndex(([name]) => name === event.target.textContent)
      if (at >= 0) chosen = at
    })
    fill(examples, shown)
  }
  async function perform() {
    const button = form.querySelector("button.primary")
    button.disabled = true
    try {
      showAnswer(document, operation, await send(document, request(values)), result)
    } catch (error) {
      fill(result, h("p", { class: "fault" }, `The request could not be sent: ${error.message}`))
    }
    button.disabled = false
  }
  draw()
  const stream = streamOf(operation)
  return [
    h("header", { class: "operation" },
      h("h1", null, operation.summary),
      h("p", { class: "address" }, badge(operation), " ", h("code", null, breakable(operation.path)))),
    h("div", { class: "columns" },
      h("div", { class: "told" },
        prose(operation.description),
        operation.parameters.length > 0 && h("section", null, h("h2", null, "Parameters"), parametersByPlace(document, operation)),
        operation.bodySchema && h("section", null, h("h2", null, "Body"), schemaView(document, operation.bodySchema)),
        h("section", null, h("h2", null, "Answers"), Object.entries(operation.responses).map(([status, answer]) => answerView(document, status, answer)))),
      h("div", { class: "done" },
        h("section", { class: "card" }, h("h2", null, "Try it"), form, result),
        stream && h("p", { class: "watch" }, h("button", { type: "button", click: () => dock.watch(makeRequest(stream, { parameters: values.parameters, conditions: operation.conditions ? values.conditions : [], body: "" }, token()), stream.path) }, "Watch live"), " what happens to ", h("code", null, stream.path.replace(/\/subscribe$/, ""))),
        h("section", { class: "card" }, h("h2", null, "In code"), examples))),
  ]
}

function parametersByPlace(document, operation) {
  const isField = (parameter) => operation.conditions?.some((name) => parameter.name.replace(/\[.*/, "") === name) && parameter.in === "query"
  const [fields, others] = [operation.parameters.filter(isField), operation.parameters.filter((one) => !isField(one))]
  return [
    others.length > 0 && parametersView(document, others),
    fields.length > 0 && h("details", null, h("summary", null, `Conditions on fields (${fields.length})`), parametersView(document, fields)),
  ]
}

function answerView(document, status, answer) {
  const whole = resolve(document, answer)
  const kinds = Object.entries(whole.content ?? {})
  const headers = Object.entries(whole.headers ?? {})
  return h("details", { class: "answer" },
    h("summary", null, answerSummary(document, status, answer)),
    h("p", null, inline(whole.description)),
    headers.length > 0 && h("dl", { class: "members" }, headers.map(([name, header]) =>
      h("div", null, h("dt", null, h("code", null, name), h("span", { class: "limit" }, "header")), h("dd", null, inline(resolve(document, header).description))))),
    kinds.slice(0, 1).map(([kind, { schema, example }]) => [h("p", { class: "quiet" }, kind), example && typeof example === "string" ? code(example) : schemaView(document, schema)]))
}

function showAnswer(document, operation, answer, result) {
  const type = answer.headers.find(([name]) => name === "content-type")?.[1] ?? ""
  if (answer.status === 201 || answer.status === 200) remember(operation, answer.text)
  fill(result,
    h("p", { role: "status" }, h("span", { class: `status s${String(answer.status)[0]}` }, String(answer.status)), ` ${answer.title} `, h("span", { class: "quiet" }, `${Math.round(answer.milliseconds)} ms`)),
    h("details", null, h("summary", null, `Headers (${answer.headers.length})`), h("dl", { class: "heads" }, answer.headers.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))))),
    answer.text ? code(pretty(answer.text)) : h("p", { class: "quiet" }, "No body."),
    type.startsWith("application/problem") && problemLink(document, answer.text))
}

function problemLink(document, text) {
  const { type, code: name } = JSON.parse(text)
  return h("p", null, "What this means: ", h("a", { href: new URL(type, location.href).href }, name))
}

function remember(operation, text) {
  try {
    const data = JSON.parse(text)
    const record = Array.isArray(data) ? data[0] : data
    if (operation.resource) rememberKey(operation.resource[0], record?.id)
  } catch {
    // an answer that is not JSON has no key
  }
}

/** A path may break after its slashes. */
function breakable(path) {
  return path.split("/").flatMap((part, index) => (index ? [h("wbr"), `/${part}`] : [part]))
}
