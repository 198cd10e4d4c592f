// Makes elements. Text is always set as text, so nothing that comes from the server becomes markup.

/** An element: `h("a", {href: "#"}, "text", child)`. Functions are listeners; false and null are left out. */
export function h(name, properties, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === false || value == null) continue
    if (typeof value === "function") element.addEventListener(key, value)
    else element.setAttribute(key, value === true ? "" : value)
  }
  element.append(...children.flat(9).filter((child) => child != null && child !== false))
  return element
}

/** Puts new children in place of the old ones. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(9).filter((child) => child != null && child !== false))
  return element
}

/** Text in which what stands between back-ticks is code; blank lines part paragraphs. */
export function prose(text, name = "p") {
  return (text ?? "").split(/\n\s*\n/).filter(Boolean).map((part) => h(name, null, inline(part)))
}

/** One line of such text. */
export function inline(text) {
  return (text ?? "").split("`").map((part, index) => (index % 2 ? h("code", null, part) : part))
}

/** A block of code with a button that copies it. */
export function code(text, label = "Copy") {
  const button = h("button", { type: "button", class: "copy", click: copy }, label)
  const block = h("pre", { tabindex: "0" }, text)
  async function copy() {
    try {
      await navigator.clipboard.writeText(block.textContent)
      button.textContent = "Copied"
    } catch {
      getSelection().selectAllChildren(block)
      button.textContent = "Selected"
    }
    setTimeout(() => { button.textContent = label }, 1500)
  }
  return h("div", { class: "code" }, button, block)
}

/** Tabs (WAI-ARIA): `entries` are [name, panel]; arrows move between them. */
export function tabs(label, entries, chosen = 0) {
  const id = `tabs-${(tabs.count = (tabs.count ?? 0) + 1)}`
  const panels = entries.map(([, panel], index) =>
    h("div", { role: "tabpanel", id: `${id}-${index}`, "aria-labelledby": `${id}-tab-${index}` }, panel))
  const buttons = entries.map(([name], index) =>
    h("button", { type: "button", role: "tab", id: `${id}-tab-${index}`, "aria-controls": `${id}-${index}`, click: () => show(index) }, name))
  function show(index) {
    buttons.forEach((button, at) => {
      button.setAttribute("aria-selected", String(at === index))
      button.tabIndex = at === index ? 0 : -1
      panels[at].hidden = at !== index
    })
  }
  function move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    const next = (buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length
    show(next)
    buttons[next].focus()
  }
  show(chosen)
  return h("div", { class: "tabs" }, h("div", { role: "tablist", "aria-label": label, keydown: move }, buttons), panels)
}
