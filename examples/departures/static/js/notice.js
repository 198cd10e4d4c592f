// What is wrong at the moment, in one line above the list. Each source has one sentence at most.
import { byId } from "./dom.js"

const sentences = new Map()

/** Show `text` for `source`, or take it away with an empty one. The most recent is on show. */
export function notify(source, text) {
  sentences.delete(source)
  if (text) sentences.set(source, text)
  const last = [...sentences.values()].at(-1) ?? ""
  byId("notice").hidden = !last
  if (byId("notice").textContent !== last) byId("notice").textContent = last
}
