// The one connection of this page, and its messages for whoever wants to look at them.
import { connect } from "/crudite.js"

const watchers = new Set()

/** `watch` is called with every message from the server, as parsed JSON. */
export const onMessage = watch => watchers.add(watch)

export const api = connect({ tap: message => { for (const watch of watchers) watch(message) } })
