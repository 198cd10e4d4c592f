// The list: rows by key, which move to their places instead of jumping (FLIP: first, last, invert, play).
import { byId, calm, element } from "./dom.js"
import { Row } from "./row.js"

const MOVE = { duration: 520, easing: "cubic-bezier(.2, .8, .2, 1)" }
const FADE = { duration: 240, easing: "ease-out" }

const body = byId("rows")
const rows = new Map()

/** Show these flights in this order. `afresh` when another list was asked for: then nothing moves. */
export function render(flights, afresh) {
  const still = afresh || calm() || document.hidden
  const before = still ? new Map() : positions()
  const left = drop(new Set(flights.map(({ id }) => id)), still)
  const entered = new Set(flights.filter(({ id }) => !rows.has(id)).map(({ id }) => id))
  for (const flight of flights) {
    if (entered.has(flight.id)) rows.set(flight.id, new Row(flight))
    else rows.get(flight.id).update(flight)
  }
  arrange(flights.map(({ id }) => rows.get(id).node))
  if (!still) animate(before, entered, left)
  for (const row of body.querySelectorAll(".waiting")) row.remove()
  body.closest("table").removeAttribute("aria-busy")
}

/** Draw all rows again: names have come. */
export function redraw() {
  for (const row of rows.values()) row.update({ ...row.flight })
}

/** Grey rows until the first flights are there. */
export function wait(count) {
  const cells = () => Array.from({ length: 7 }, () => element("td", { role: "cell" }))
  body.replaceChildren(...Array.from({ length: count }, () => element("tr", { role: "row", class: "waiting" }, ...cells())))
}

function positions() {
  const top = body.getBoundingClientRect().top
  return new Map([...rows].map(([id, { node }]) => [id, node.getBoundingClientRect().top - top]))
}

function drop(kept, still) {
  const left = []
  for (const [id, row] of rows) {
    if (kept.has(id)) continue
    rows.delete(id)
    if (row.node.contains(document.activeElement)) byId("board").focus({ preventScroll: true })
    if (still) row.node.remove()
    else left.push([id, row.node])
  }
  return left
}

/** Put the nodes in order. The one that holds the focus stays in the document, or it would lose it. */
function arrange(nodes) {
  const anchor = nodes.find(node => node.contains(document.activeElement))
  let next = body.firstElementChild
  for (const node of nodes) {
    if (node === anchor) {
      while (next !== anchor) {
        const other = next
        next = next.nextElementSibling
        body.append(other)
      }
    }
    if (node === next) next = next.nextElementSibling
    else body.insertBefore(node, next)
  }
}

function animate(before, entered, left) {
  for (const [id, node] of left) leave(node, before.get(id))
  for (const [id, { node }] of rows) {
    for (const animation of node.getAnimations()) animation.cancel()
    if (entered.has(id)) enter(node)
    else move(node, before.get(id) - node.offsetTop)
  }
}

function move(node, distance) {
  if (Math.abs(distance) < 1) return
  const jumps = Math.abs(distance) > node.offsetHeight * 1.5
  node.classList.toggle("moving", jumps)
  const animation = node.animate([{ transform: `translateY(${distance}px)` }, { transform: "none" }], MOVE)
  animation.onfinish = animation.oncancel = () => node.classList.remove("moving")
}

const enter = node => node.animate([{ opacity: 0, transform: "translateY(14px)" }, { opacity: 1, transform: "none" }], MOVE)

function leave(node, top) {
  node.inert = true
  node.classList.add("leaving")
  node.style.top = `${top}px`
  body.append(node)
  const animation = node.animate([{ opacity: 1 }, { opacity: 0, transform: "translateX(28px)" }], FADE)
  animation.onfinish = animation.oncancel = () => node.remove()
}
