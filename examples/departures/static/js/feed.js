// The one connection of this page, and its messages for whoever wants to look at them.
import { connect } from "/crudite.js"

const watchers = new Set()

/** `watch` is called with every message from the server, as parsed JSON; several may come in one array. */
export const onMessage = watch => watchers.add(watch)

class WatchedSocket extends WebSocket {
  constructor(...given) {
    super(...given)
    this.addEventListener("message", ({ data }) => {
      for (const message of [JSON.parse(data)].flat()) for (const watch of watchers) watch(message)
    })
  }
}

export const api = connect({ WebSocket: WatchedSocket })
