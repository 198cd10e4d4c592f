// The hint to open a second window, until somebody closes it.
import { byId, stored } from "./dom.js"

const closed = () => stored("hint") === "closed"

byId("hint").hidden = closed()
byId("hint-close").addEventListener("click", () => {
  stored("hint", "closed")
  byId("hint").hidden = true
})

// Side by side if the browser allows it; the plain link opens a tab.
byId("second").addEventListener("click", event => {
  const width = Math.round(screen.availWidth / 2)
  const place = `popup,width=${width},height=${screen.availHeight},left=${width},top=0`
  if (window.open(location.href, "_blank", place)) event.preventDefault()
})
