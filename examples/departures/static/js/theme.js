// The theme, set before the first paint: the system's, or the one chosen here.
(() => {
  const root = document.documentElement
  const dark = matchMedia("(prefers-color-scheme: dark)")
  const stored = () => { try { return localStorage.getItem("theme") } catch { return null } }
  const apply = () => { root.dataset.theme = stored() ?? (dark.matches ? "dark" : "light") }

  apply()
  dark.addEventListener("change", apply)
  addEventListener("storage", apply) // chosen in another window
  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const next = root.dataset.theme === "dark" ? "light" : "dark"
      try { localStorage.setItem("theme", next) } catch { /* private mode: for this page only */ }
      root.dataset.theme = next
    })
  })
})()
