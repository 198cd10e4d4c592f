// Elements, without a framework. Data becomes text nodes, never markup.
const SVG = "http://www.w3.org/2000/svg"

/** The element with this id. */
export const byId = id => document.getElementById(id)

/** `element("li", { class: "a", hidden: true }, "text", child)`; false and undefined attributes are left out. */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(key, "")
    else if (value !== false && value !== undefined) node.setAttribute(key, value)
  }
  node.append(...children)
  return node
}

/** An icon of icons.svg. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg")
  svg.setAttribute("aria-hidden", "true")
  svg.append(document.createElementNS(SVG, "use"))
  setIcon(svg, name)
  return svg
}

export const setIcon = (svg, name) => svg.firstElementChild.setAttribute("href", `icons.svg#${name}`)

/** Set a node's text; true when it was another one. */
export function setText(node, text) {
  if (node.textContent === text) return false
  node.textContent = text
  return true
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches

/** A value kept in this browser, or undefined. */
export function stored(key, value) {
  try {
    if (value !== undefined) localStorage.setItem(key, value)
    return localStorage.getItem(key) ?? undefined
  } catch { return undefined }
}

/** A group of buttons of which one is pressed; `choose(value)` presses it without calling back. */
export function choice(group, options, pick) {
  const buttons = options.map(([value, label, title]) => {
    const button = element("button", { type: "button", "aria-pressed": "false", title }, label)
    button.addEventListener("click", () => pick(value))
    return [value, button]
  })
  group.append(...buttons.map(([, button]) => button))
  return chosen => {
    for (const [value, button] of buttons) button.setAttribute("aria-pressed", String(value === chosen))
  }
}
