// Shows JSON Schemas: as a list of members with their types and limits, nested ones to be opened.

import { h, inline } from "./dom.js"

/** What a reference points at; anything else as it is. */
export function resolve(document, schema) {
  if (!schema?.$ref) return schema ?? {}
  const found = schema.$ref.slice(2).split("/").reduce((at, name) => at?.[name], document) ?? {}
  const { $ref, ...own } = schema
  return { ...resolve(document, found), ...own }
}

/** The name of the component that a schema refers to. */
export function componentName(schema) {
  return schema?.$ref?.split("/").at(-1)
}

/** The type in words: `string`, `Task or null`, `list of Task`. */
export function typeText(document, schema) {
  if (schema === true || !schema || !Object.keys(schema).length) return "anything"
  if (schema.$ref) return componentName(schema)
  const some = schema.anyOf ?? schema.oneOf
  if (some) return [...new Set(some.map((one) => typeText(document, one)))].join(" or ")
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.type ?? "one of"
  if (schema.type === "array") return `list of ${typeText(document, schema.items)}`
  if (Array.isArray(schema.type)) return schema.type.join(" or ")
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "anything"
}

/** The limits in words. */
export function limits(schema) {
  const words = []
  for (const one of [schema, ...(schema.anyOf ?? [])]) {
    if (one.enum) words.push(one.enum.slice(0, 12).map((value) => JSON.stringify(value)).join(" ") + (one.enum.length > 12 ? " …" : ""))
    if (one.minLength != null) words.push(`at least ${one.minLength} characters`)
    if (one.maxLength != null) words.push(`at most ${one.maxLength} characters`)
    if (one.minimum != null && one.minimum > -9e15) words.push(`≥ ${one.minimum}`)
    if (one.exclusiveMinimum != null) words.push(`> ${one.exclusiveMinimum}`)
    if (one.maximum != null && one.maximum < 9e15) words.push(`≤ ${one.maximum}`)
    if (one.exclusiveMaximum != null) words.push(`< ${one.exclusiveMaximum}`)
    if (one.multipleOf != null) words.push(`a multiple of ${one.multipleOf}`)
    if (one.pattern) words.push(`form ${one.pattern}`)
    if (one.minItems != null) words.push(`at least ${one.minItems} items`)
    if (one.maxItems != null) words.push(`at most ${one.maxItems} items`)
  }
  if (schema.default !== undefined) words.push(`default ${JSON.stringify(schema.default)}`)
  return words
}

/** The members of an object's schema as a definition list; other schemas as one line. */
export function schemaView(document, schema, depth = 0) {
  const whole = resolve(document, schema)
  if (whole.type === "array") return [h("p", { class: "quiet" }, `A list; each item:`), schemaView(document, whole.items, depth)]
  const some = whole.anyOf ?? whole.oneOf
  if (some && !whole.properties) {
    return h("div", { class: "choices" }, some.map((one) =>
      h("details", { open: some.length === 1 || (depth === 0 && one === some[0]) }, h("summary", null, typeText(document, one)), schemaView(document, one, depth + 1))))
  }
  if (!whole.properties) return h("p", null, h("span", { class: "type" }, typeText(document, schema)), " ", limitsView(whole))
  const required = new Set(whole.required ?? [])
  return h("dl", { class: "members" }, Object.entries(whole.properties).map(([name, member]) =>
    memberView(document, name, member, required.has(name), depth)))
}

/** One member, parameter or argument. */
export function memberView(document, name, member, isRequired, depth = 0, description = member.description) {
  const whole = resolve(document, member)
  const inner = nested(document, member)
  return h("div", null,
    h("dt", null, h("code", null, name), " ", h("span", { class: "type" }, typeText(document, member)), isRequired && h("span", { class: "required" }, "required")),
    h("dd", null,
      h("span", null, inline(description ?? whole.description)), " ", limitsView(whole),
      inner && depth < 4 && h("details", null, h("summary", null, `Members of ${typeText(document, inner)}`), schemaView(document, inner, depth + 1))))
}

function limitsView(schema) {
  return limits(schema).map((text) => h("span", { class: "limit" }, text))
}

/** The object inside a member that is worth opening. */
function nested(document, member) {
  const whole = resolve(document, member)
  if (whole.properties && Object.keys(whole.properties).length) return member
  if (whole.type === "array") return nested(document, whole.items ?? {})
  return (whole.anyOf ?? []).map((one) => nested(document, one)).find(Boolean) ?? null
}

/** A value that fits a schema, as an example. */
export function sample(document, schema, depth = 0) {
  const whole = resolve(document, schema)
  if (whole.examples?.length) return whole.examples[0]
  if (whole.default !== undefined && whole.default !== null) return whole.default
  if (whole.const !== undefined) return whole.const
  if (whole.enum) return whole.enum[0]
  const some = whole.anyOf ?? whole.oneOf
  if (some) return sample(document, some.find((one) => one.type !== "null") ?? some[0], depth)
  switch (Array.isArray(whole.type) ? whole.type[0] : whole.type) {
    case "object": return depth > 3 ? {} : Object.fromEntries(Object.entries(whole.properties ?? {})
      .filter(([name]) => !whole.required || whole.required.includes(name))
      .map(([name, member]) => [name, sample(document, member, depth + 1)]))
    case "array": return depth > 3 ? [] : [sample(document, whole.items ?? {}, depth + 1)]
    case "integer": return whole.minimum > 0 ? whole.minimum : 1
    case "number": return 1.5
    case "boolean": return true
    case "string": return { date: "2026-11-20", "date-time": "2026-11-20T14:40:37Z", uuid: "0199c2f4-7a3e-7d11-9c58-2f6d1b0c4a77", email: "ada@example.org" }[whole.format] ?? "text"
  }
  return null
}
