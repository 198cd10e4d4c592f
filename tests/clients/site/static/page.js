// A page as an application would write it, which also keeps what it was told for the test to look at.
import { connect } from "/crudite.js"

window.heard = [] // every message from the server
window.shown = [] // every list of all tasks, as one text

const byId = (id) => document.getElementById(id)
const api = connect({ tap: (message) => window.heard.push(structuredClone(message)) })

function refuse(error) {
  byId("refused").textContent = `${error.code} ${error.errors.map(({ pointer, code }) => `${pointer} ${code}`)}`
}

function row(task, isEditable) {
  const item = document.createElement("li")
  item.dataset.title = item.textContent = task.title
  item.dataset.state = task.version === undefined ? "guessed" : "confirmed"
  if (isEditable) item.append(rankOf(task), removalOf(task))
  return item
}

function rankOf({ id, rank }) {
  const field = document.createElement("input")
  field.type = "number"
  field.value = rank
  field.addEventListener("change", () => api.tasks.update(id, { rank: field.valueAsNumber }).catch(refuse))
  return field
}

function removalOf({ id, title }) {
  const button = document.createElement("button")
  button.ariaLabel = `Remove ${title}`
  button.addEventListener("click", () => api.tasks.delete(id).catch(refuse))
  return button
}

/** Says in the element whether its live query is complete. */
const following = (id) => ({ onStatus: (status) => (byId(id).dataset.live = status) })

api.onStatus((status) => (byId("state").textContent = status))
byId("state").textContent = api.status
api.tasks.order("rank").live((tasks) => {
  byId("all").replaceChildren(...tasks.map((task) => row(task, true)))
  window.shown.push(tasks.map(({ title, version }) => (version === undefined ? `${title}?` : title)).join(" "))
}, following("all"))
api.tasks.order("-rank").limit(2).live((tasks) => {
  byId("highest").replaceChildren(...tasks.map((task) => row(task, false)))
}, following("highest"))
api.read("count").live((number) => (byId("count").textContent = number), following("count"))

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault()
  const { title, rank } = event.target.elements
  api.tasks.create({ title: title.value, rank: rank.valueAsNumber }).catch(refuse)
})
