// The form of an operation: parameters, conditions and a body, as values that a request is made of.

import { h, inline } from "./dom.js"
import { memberView, resolve, sample } from "./schema.js"

const OPERATORS = ["eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "between", "contains", "icontains", "startswith", "istartswith", "endswith", "isnull", "exists"]
const remembered = new Map()

/** A form for an operation. `changed` is called with every change, `submit` when it is sent. */
export function operationForm(document, operation, { changed, submit, label }) {
  const values = { parameters: {}, conditions: [], body: "" }
  const fields = operation.parameters.filter((parameter) => !isCondition(operation, parameter))
  const path = fields.filter((parameter) => parameter.in === "path")
  const others = fields.filter((parameter) => parameter.in !== "path")
  const required = others.filter((parameter) => parameter.required)
  const optional = others.filter((parameter) => !parameter.required)
  const update = () => changed(values)
  const row = (parameter) => parameterRow(document, parameter, values, update)
  const form = h("form", { class: "try", submit: (event) => { event.preventDefault(); submit(values) } },
    [...path, ...required].map(row),
    operation.conditions && conditionRows(operation.conditions, values, update),
    optional.length > 0 && h("details", { class: "more" }, h("summary", null, `Options (${optional.length})`), optional.map(row)),
    operation.bodyType && bodyRow(document, operation, values, update),
    h("button", { class: "primary", type: "submit" }, label))
  return { form, values }
}

/** Whether a parameter is a plain condition on a field, which the rows of conditions stand for. */
function isCondition(operation, parameter) {
  return operation.conditions?.some((name) => parameter.name === name || parameter.name.startsWith(`${name}[`)) && parameter.in === "query"
}

function parameterRow(document, parameter, values, update) {
  const name = `${parameter.in}:${parameter.name}`
  const schema = resolve(document, parameter.schema ?? {})
  const id = `p-${parameter.in}-${parameter.name}`
  const isKey = parameter.in === "path"
  values.parameters[name] = isKey ? remembered.get(parameter.owner) ?? "" : ""
  const keep = (event) => {
    values.parameters[name] = event.target.value
    if (isKey) remembered.set(parameter.owner, event.target.value)
    update()
  }
  const field = schema.enum && schema.type !== "array"
    ? h("select", { id, input: keep }, h("option", { value: "" }, ""), schema.enum.map((value) => h("option", { value }, String(value))))
    : h("input", { id, value: values.parameters[name], required: parameter.required, input: keep, autocomplete: "off", placeholder: hint(document, parameter, schema) })
  return h("div", { class: "field" }, h("label", { for: id }, h("code", null, parameter.name), parameter.in === "header" && h("small", null, " header")), field)
}

/** Keys are remembered between operations, so that what was created can be read at once. */
export function rememberKey(owner, key) {
  if (key != null) remembered.set(owner, String(key))
}

function hint(document, parameter, schema) {
  if (schema.type === "array") return (schema.items?.enum ?? []).slice(0, 2).join(",")
  if (parameter.in === "path") return "key"
  if (schema.default !== undefined) return String(schema.default)
  const value = parameter.content ? "{…}" : sample(document, schema)
  return typeof value === "object" ? "" : String(value ?? "")
}

/** Rows of field, operator, value; there is always an empty one at the end. */
function conditionRows(names, values, update) {
  const list = h("div", { class: "conditions" })
  const box = h("fieldset", null, h("legend", null, "Where"), list)
  const read = () => {
    values.conditions = [...list.children].map((row) => {
      const [field, operator, value] = [...row.querySelectorAll("select, input")].map((input) => input.value)
      return field && [operator === "eq" ? field : `${field}[${operator}]`, value]
    }).filter(Boolean)
    if (![...list.children].some((row) => !row.querySelector("select").value)) list.append(row())
    update()
  }
  const row = () => h("div", { class: "condition", input: read },
    h("select", { "aria-label": "Field" }, h("option", { value: "" }, "any"), names.map((name) => h("option", null, name))),
    h("select", { "aria-label": "Operator" }, OPERATORS.map((name) => h("option", null, name))),
    h("input", { "aria-label": "Value", autocomplete: "off", placeholder: "value" }))
  list.append(row())
  return box
}

function bodyRow(document, operation, values, update) {
  values.body = JSON.stringify(operation.bodyExample ?? sample(document, operation.bodySchema), null, 2)
  const area = h("textarea", { id: "p-body", rows: Math.min(16, values.body.split("\n").length + 1), spellcheck: "false", input: keep })
  const fault = h("p", { class: "fault", role: "status" })
  area.value = values.body
  function keep() {
    values.body = area.value
    try {
      if (area.value.trim()) JSON.parse(area.value)
      fault.textContent = ""
    } catch (error) {
      fault.textContent = error.message
    }
    update()
  }
  return h("div", { class: "field wide" }, h("label", { for: "p-body" }, "Body ", h("small", null, operation.bodyType)), area, fault)
}

/** The parameters as documentation. */
export function parametersView(document, parameters) {
  return h("dl", { class: "members" }, parameters.map((parameter) => {
    const schema = parameter.schema ?? Object.values(parameter.content ?? {})[0]?.schema ?? {}
    const view = memberView(document, parameter.name, schema, parameter.required, 3, parameter.description)
    if (parameter.in === "header") view.querySelector("dt").append(h("span", { class: "limit" }, "header"))
    return view
  }))
}

/** A line that says where a problem is told about. */
export function answerSummary(document, status, answer) {
  return [h("span", { class: `status s${status[0]}` }, status), " ", inline(resolve(document, answer).description?.split(". ")[0].replace(/\.$/, "") ?? "")]
}
